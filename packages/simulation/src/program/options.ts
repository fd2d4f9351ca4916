import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';

/** What the program was asked for. */
export interface ProgramOptions {
  readonly help: boolean;
  /** The first seed, and how many. */
  readonly first: number;
  readonly seeds: number;
  /** One seed only, with its whole trace printed. */
  readonly seed?: number;
  /** One seed only, once for each of its crash points. */
  readonly everyPoint?: number;
  /** Crash points of the one seed. */
  readonly crashAt: readonly number[];
  /** A built-in defect that every run suffers from. */
  readonly defect?: string;
  /** The built-in defects to look for, each until it is found; empty: all of them. */
  readonly hunt?: readonly string[];
  readonly processes: number;
  /** Every how manyth seed is run again elsewhere and must go the same way; 0 for none. */
  readonly verify: number;
  /** How many failing seeds end the run. */
  readonly maxFailures: number;
  /** Where the report is written as JSON. */
  readonly report?: string;
  /** The module to be simulated, as a URL; the suite when absent. */
  readonly suite?: string;
}

/** An argument that means nothing; the message is for whoever typed it. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export const USAGE = `Usage: npm run simulate -- [options]
  --seeds N         how many seeds to run (10,000)
  --first N         the first of them (1)
  --seed N          run one seed and print what happens in it
  --crash-at K[,K]  with --seed: kill the process that comes to its K-th crash point
  --every-point N   run seed N once for each of its crash points, with a crash there
  --defect NAME     sabotage the suite; the invariants should notice
  --hunt NAME[,NAME]
                    look for these built-in defects, each in up to --seeds seeds; "all": for every one
  --processes N     how many at a time (one for each core)
  --verify N        run every N-th seed twice and compare (50; 0: none)
  --max-failures N  stop after so many failing seeds (10)
  --report FILE     write the report as JSON
`;

/** Throws UsageError. */
export function readOptions(argv: readonly string[]): ProgramOptions {
  const values = parse(argv);
  const number = (name: string, value: string | undefined, least: number): number | undefined => {
    if (value === undefined) return undefined;
    const parsed = Number(value.replaceAll('_', ''));
    if (Number.isSafeInteger(parsed) && parsed >= least) return parsed;
    throw new UsageError(`--${name} takes a whole number from ${least}, not "${value}".`);
  };
  const [seed, everyPoint] = [number('seed', values.seed, 0), number('every-point', values['every-point'], 0)];
  const points = (values['crash-at'] ?? '').split(',').filter((text) => text !== '');
  return {
    help: values.help === true,
    first: number('first', values.first, 0) ?? 1,
    seeds: number('seeds', values.seeds, 1) ?? 10_000,
    ...(seed !== undefined && { seed }),
    ...(everyPoint !== undefined && { everyPoint }),
    crashAt: points.map((text) => number('crash-at', text, 1) ?? 1),
    ...(values.defect !== undefined && { defect: values.defect }),
    ...(values.hunt !== undefined && { hunt: values.hunt === 'all' ? [] : values.hunt.split(',') }),
    processes: number('processes', values.processes, 1) ?? availableParallelism(),
    verify: number('verify', values.verify, 0) ?? 50,
    maxFailures: number('max-failures', values['max-failures'], 1) ?? 10,
    ...(values.report !== undefined && { report: values.report }),
    ...(values.suite !== undefined && { suite: values.suite }),
  };
}

function parse(argv: readonly string[]) {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
      args: [...argv],
      options: {
        help: { type: 'boolean', short: 'h' },
        seeds: text,
        first: text,
        seed: text,
        'every-point': text,
        'crash-at': text,
        defect: text,
        hunt: text,
        processes: text,
        verify: text,
        'max-failures': text,
        report: text,
        suite: text,
      },
    }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}
