import { parseArgs } from 'node:util';
import { randomInt } from 'node:crypto';
import { kindsNamed } from './faults/index.js';
import type { FaultKind } from './fault.js';

export interface ChaosOptions {
  /** Of faults and load. */
  readonly seed: number;
  /** How many faults must happen. */
  readonly faults: number;
  /** No fault begins later than this. */
  readonly minutes: number;
  /** Submissions per second. */
  readonly rate: number;
  /** Where servers, logs and reports go; a new folder below `.local/chaos` when absent. */
  readonly directory: string | undefined;
  /** Where the report is written as well. */
  readonly report: string | undefined;
  /** All of them when absent. Named ones come first, once each and in this order, then by chance. */
  readonly kinds: readonly FaultKind[] | undefined;
  /** Whether servers' data stay although everything was right. */
  readonly keep: boolean;
}

export const USAGE = `Usage: npm run chaos -- [options]

  --seed N         0 to 4294967295: the same faults at the same times again (by chance)
  --faults N       how many faults must happen (200)
  --minutes N      no fault begins later than this (15)
  --rate N         submissions per second (40)
  --kinds A,B      only these kinds of faults, each once and then by chance (all)
  --directory D    servers' data, logs and reports; must be new or empty (.local/chaos/<time>-<seed>)
  --report FILE    where the report, in Markdown, is written as well
  --keep           keep the servers' data although everything was right
  --help           this text

Exit code 0: at least as many faults as asked for, and every check is right.
`;

const LARGEST_SEED = 2 ** 32 - 1;

/** Reads the command line. @throws Error naming the option that is wrong. */
export function parseChaosOptions(args: readonly string[]): ChaosOptions | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: 'string' },
      faults: { type: 'string', default: '200' },
      minutes: { type: 'string', default: '15' },
      rate: { type: 'string', default: '40' },
      kinds: { type: 'string' },
      directory: { type: 'string' },
      report: { type: 'string' },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  return {
    seed: values.seed === undefined ? randomInt(LARGEST_SEED) : wholeNumber('seed', values.seed, [0, LARGEST_SEED]),
    faults: wholeNumber('faults', values.faults, [0, 100_000]),
    minutes: positive('minutes', values.minutes, 24 * 60),
    rate: positive('rate', values.rate, 10_000),
    directory: values.directory,
    report: values.report,
    kinds: values.kinds === undefined ? undefined : kindsNamed(values.kinds.split(',').map((name) => name.trim())),
    keep: values.keep,
  };
}

function wholeNumber(name: string, text: string, [min, max]: readonly [number, number]): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new Error(`--${name} must be a whole number from ${min} to ${max}, not "${text}"`);
}

function positive(name: string, text: string, max: number): number {
  const value = Number(text);
  if (text.trim() !== '' && value > 0 && value <= max) return value;
  throw new Error(`--${name} must be a number above 0 and at most ${max}, not "${text}"`);
}
