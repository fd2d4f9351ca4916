import { parseArgs } from 'node:util';

export const BENCHMARKS = ['pipeline', 'reserve', 'record', 'recovery', 'inference', 'scaling', 'telemetry'] as const;
export type BenchmarkName = (typeof BENCHMARKS)[number];

export interface CommandLine {
  readonly names: readonly BenchmarkName[];
  readonly quick: boolean;
  readonly rounds: number | undefined;
  /** Where the JSON goes instead of benchmarks/results. */
  readonly json: string | undefined;
  /** A calibration file of a worker, for scaling. */
  readonly curve: string | undefined;
}

export const USAGE = `Usage: npm run bench -- [name ...] [--quick] [--rounds <n>] [--json <file>] [--curve <file>]

  name      which benchmark (${BENCHMARKS.join(', ')}); all when none is named
  --quick   few jobs: shows that it works, the figures mean little
  --rounds  counted rounds of each case, 1 to 50
  --json    where the result is written as JSON; default benchmarks/results/<name>-<time>.json
  --curve   scaling only: calibration file of the worker to simulate, from its SLUICE_CALIBRATION_DIR
`;

const MOST_ROUNDS = 50;

/**
 * @returns 'help' when asked for.
 * @throws Error, readable, for anything it does not know.
 */
export function parseCommandLine(args: readonly string[]): CommandLine | 'help' {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      json: { type: 'string' },
      curve: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return 'help';
  const names = positionals.length > 0 ? positionals.map(benchmarkName) : BENCHMARKS;
  return {
    names,
    quick: values.quick,
    rounds: values.rounds === undefined ? undefined : roundCount(values.rounds),
    json: values.json,
    curve: values.curve,
  };
}

function benchmarkName(name: string): BenchmarkName {
  const known = BENCHMARKS.find((benchmark) => benchmark === name);
  if (!known) throw new Error(`There is no benchmark "${name}"; there are: ${BENCHMARKS.join(', ')}.`);
  return known;
}

function roundCount(text: string): number {
  const rounds = Number(text);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > MOST_ROUNDS) {
    throw new Error(`--rounds takes a whole number from 1 to ${MOST_ROUNDS}, not "${text}".`);
  }
  return rounds;
}
