import type { Roles } from '../harness/cpu.js';
import type { BareLoop } from './bare-loop.js';
import { sortedByLength, usefulShare, type BatchCut } from './batch-cuts.js';
import { jobsOf } from './jobs.js';
import type { SchedulerSide } from './scheduler-side.js';
import type { TextSet } from './text-set.js';
import { INFERENCE, PARENT, type ThroughputSide } from './throughput.js';
import { batchingBetween, parseMetrics } from './worker-metrics.js';
import type { WorkerSide } from './worker-side.js';

/** A set that is through sooner is run again, so that a round is long enough to be measured. */
const SHORTEST_ROUND_MS = 1_000;

export interface BareSideOptions {
  readonly name: string;
  readonly loop: BareLoop;
  readonly set: TextSet;
  readonly cut: BatchCut;
}

/** Nothing but inference processes and a list of batches. */
export function bareSide({ name, loop, set, cut }: BareSideOptions): ThroughputSide {
  const lengths = set.sequences.map(({ length }) => length);
  const batches = cut(lengths);
  return {
    name,
    roles: async () => ({ [INFERENCE]: loop.pids, benchmark: [process.pid] }),
    async run(onStart) {
      onStart();
      let elapsedMs = 0;
      let passes = 0;
      for (; elapsedMs < SHORTEST_ROUND_MS; passes++) elapsedMs += await loop.run(batches);
      return {
        passes,
        elapsedMs,
        usefulShare: usefulShare(batches, lengths),
        textsPerRun: lengths.length / batches.length,
      };
    },
  };
}

export interface WholeWorkerOptions {
  readonly name: string;
  readonly worker: WorkerSide;
  readonly set: TextSet;
  readonly textsPerJob: number;
  readonly servers: Roles;
}

/** The whole worker, from the queue to confirmed results. */
export function wholeWorkerSide(options: WholeWorkerOptions): ThroughputSide {
  const { name, worker, set, textsPerJob, servers } = options;
  return {
    name,
    // n.b. a worker may replace its processes.
    roles: async () => ({
      [INFERENCE]: await worker.inferencePids(),
      [PARENT]: [worker.pid],
      RabbitMQ: servers['rabbitmq'] ?? [],
      benchmark: [process.pid],
    }),
    async run(onStart) {
      let before: Promise<string> | undefined;
      const elapsedMs = await worker.drain(jobsOf(set, { textsPerJob, class: 'standard' }), () => {
        onStart();
        before = worker.page('/metrics');
      });
      const after = await worker.page('/metrics');
      return {
        passes: 1,
        elapsedMs,
        ...batchingBetween(set.model.name, parseMetrics((await before) ?? ''), parseMetrics(after)),
      };
    },
  };
}

/** The worker's scheduler and processes alone: what broker, messages and tokenizers cost is the difference to the whole. */
export function schedulerOnlySide(name: string, scheduler: SchedulerSide, set: TextSet): ThroughputSide {
  return {
    name,
    roles: async () => ({ [INFERENCE]: scheduler.inferencePids, [PARENT]: [process.pid] }),
    async run(onStart) {
      onStart();
      return { passes: 1, elapsedMs: await scheduler.drain(set) };
    },
  };
}

/** The budget with which sorted batches are fastest: each is tried in turns, the best time of each counts. */
export async function bestBudget(
  loop: BareLoop,
  set: TextSet,
  { budgets, passes }: { readonly budgets: readonly number[]; readonly passes: number },
): Promise<number> {
  const lengths = set.sequences.map(({ length }) => length);
  const best = new Map<number, number>();
  for (let pass = 0; pass < passes; pass++) {
    for (const budget of budgets) {
      const elapsedMs = await loop.run(sortedByLength(budget)(lengths));
      best.set(budget, Math.min(best.get(budget) ?? Infinity, elapsedMs));
    }
  }
  const [[budget] = [0]] = [...best].sort(([, a], [, b]) => a - b);
  return budget;
}
