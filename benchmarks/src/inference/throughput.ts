import type { BenchmarkOptions } from '../harness/benchmark.js';
import { compare, type Comparison, type Metric } from '../harness/comparison.js';
import { startCpuClock } from '../harness/cpu-clock.js';
import type { Roles } from '../harness/cpu.js';
import type { CaseResult } from '../harness/report.js';
import { runRounds } from '../harness/rounds.js';
import type { TextSet } from './text-set.js';
import type { Batching } from './worker-metrics.js';

/** Roles of a worker's processes. */
export const INFERENCE = 'inference';
export const PARENT = 'parent';

/** One way of getting through a set of texts. */
export interface ThroughputSide {
  readonly name: string;
  /** Whose CPU time counts for it, as of now. */
  readonly roles: () => Promise<Roles>;
  /**
   * Runs the texts, once or several times.
   *
   * @param onStart called when the clock starts.
   */
  readonly run: (onStart: () => void) => Promise<SideRun>;
}

/** How a side got through its texts. */
export interface SideRun extends Partial<Batching> {
  readonly passes: number;
  readonly elapsedMs: number;
}

/** What one round of one side gave. */
export interface ThroughputRound extends Partial<Batching> {
  /** Tokens of the texts, without padding, per second. */
  readonly tokensPerSecond: number;
  readonly elapsedMs: number;
  /** CPU time for each text, by role; absent where the system does not tell. */
  readonly cpuMicrosPerText?: Readonly<Record<string, number>>;
  /** Cores that were busy with anything else meanwhile. */
  readonly otherCores?: number;
}

export interface ThroughputOptions extends BenchmarkOptions {
  readonly set: TextSet;
  /** The best offline loop first: what all others are divided by. */
  readonly sides: readonly [offline: ThroughputSide, ...others: ThroughputSide[]];
  /** Name of the side that P7 is measured against. */
  readonly fixed: string;
  /** Names of the sides that run through the whole worker. */
  readonly workers: readonly [single: string, several: string];
}

const ROUNDS = 5;
/** A worker's own code has the speed that it keeps after some thousands of jobs. */
const WARM_UPS = 3;
const DELAY_METRICS: readonly Metric<ThroughputRound>[] = [
  { title: 'p50, ms', better: 'none', of: ({ loopDelayMs }) => loopDelayMs?.p50 },
  { title: 'p99, ms', better: 'none', of: ({ loopDelayMs }) => loopDelayMs?.p99 },
  { title: 'longest, ms', better: 'none', of: ({ loopDelayMs }) => loopDelayMs?.longest },
];
/** What is left of a worker's costs when its broker and its clients are elsewhere. */
const WORKER_ROLES = [INFERENCE, PARENT];

/** Useful tokens per second of every side in turns, and who used the CPU. */
export async function measureThroughput(options: ThroughputOptions): Promise<readonly CaseResult[]> {
  const { set, sides, quick, rounds = quick ? 1 : ROUNDS, report, signal } = options;
  const model = set.model.name;
  const figures = await runRounds({
    sides,
    rounds,
    warmUps: quick ? 0 : WARM_UPS,
    measure: (side) => measureOnce(side, set, signal),
    report: ({ side, round, figures: { tokensPerSecond } }) =>
      report(`${model}, round ${round}, ${side.name}: ${tokensPerSecond.toFixed(0)} tokens/s`),
  });
  const [offline, ...others] = sides.map(({ name }) => name);
  const speeds = (baseline: string, subjects: readonly string[]): readonly Comparison[] =>
    subjects.flatMap((name) => compare([speedOf(name)], figures[baseline] ?? [], figures[name] ?? []));
  const withFirst = (first: string): CaseResult['rounds'] => ({ [first]: figures[first] ?? [], ...figures });
  return [
    {
      name: `${model}, ${set.description}: useful tokens/s`,
      columns: [offline ?? '', 'this'],
      rounds: figures,
      comparisons: speeds(offline ?? '', others),
    },
    {
      name: `${model}: useful tokens/s`,
      columns: [options.fixed, 'this'],
      rounds: withFirst(options.fixed),
      comparisons: speeds(options.fixed, options.workers),
    },
    {
      name: `${model}: delay of the worker's event loop at saturation`,
      columns: ['1 text a job', '16 texts a job'],
      rounds: withFirst(options.workers[0]),
      comparisons: compare(DELAY_METRICS, figures[options.workers[0]] ?? [], figures[options.workers[1]] ?? []),
    },
    ...options.workers.map((worker) => ({
      name: `${model}: CPU and batches`,
      rounds: { [offline ?? '']: figures[offline ?? ''] ?? [], [worker]: figures[worker] ?? [] },
      comparisons: compare(costMetrics(figures[worker]), figures[offline ?? ''] ?? [], figures[worker] ?? []),
    })),
  ];
}

async function measureOnce(side: ThroughputSide, set: TextSet, signal: AbortSignal): Promise<ThroughputRound> {
  signal.throwIfAborted();
  const roles = await side.roles();
  let clock: ReturnType<typeof startCpuClock> | undefined;
  const { passes, elapsedMs, ...batching } = await side.run(() => (clock = startCpuClock(roles)));
  const used = clock?.read();
  const texts = set.texts.length * passes;
  return {
    tokensPerSecond: (set.tokens * passes) / (elapsedMs / 1000),
    elapsedMs,
    ...batching,
    ...(used && {
      cpuMicrosPerText: Object.fromEntries(Object.entries(used.roles).map(([role, micros]) => [role, micros / texts])),
      otherCores: Math.max(0, used.restMicros) / used.elapsedMicros,
    }),
  };
}

function speedOf(title: string): Metric<ThroughputRound> {
  return { title, better: 'more', of: ({ tokensPerSecond }) => tokensPerSecond };
}

/** The roles are those of the first round given. */
function costMetrics(rounds: readonly ThroughputRound[] | undefined): readonly Metric<ThroughputRound>[] {
  const roles = Object.keys(rounds?.[0]?.cpuMicrosPerText ?? {});
  return [
    ...roles.map((role): Metric<ThroughputRound> => ({
      title: `${role}, µs per text`,
      better: 'less',
      of: ({ cpuMicrosPerText }) => cpuMicrosPerText && (cpuMicrosPerText[role] ?? 0),
    })),
    { title: 'all of them, µs per text', better: 'less', of: (round) => cpuOf(round, roles) },
    { title: 'inference and parent, µs per text', better: 'less', of: (round) => cpuOf(round, WORKER_ROLES) },
    { title: 'texts per run', better: 'none', of: ({ textsPerRun }) => textsPerRun },
    { title: 'useful share of the tokens run', better: 'more', of: ({ usefulShare }) => usefulShare },
    { title: 'anything else, cores', better: 'none', of: ({ otherCores }) => otherCores },
  ];
}

function cpuOf({ cpuMicrosPerText }: ThroughputRound, roles: readonly string[]): number | undefined {
  return cpuMicrosPerText && roles.reduce((sum, role) => sum + (cpuMicrosPerText[role] ?? 0), 0);
}
