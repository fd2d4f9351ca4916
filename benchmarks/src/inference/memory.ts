import type { BenchmarkOptions } from '../harness/benchmark.js';
import { compare, type Metric } from '../harness/comparison.js';
import { readResidentBytes } from '../harness/memory.js';
import type { CaseResult } from '../harness/report.js';
import { jobsOf } from './jobs.js';
import type { SchedulerSide } from './scheduler-side.js';
import type { TextSet } from './text-set.js';
import type { WorkerSide } from './worker-side.js';

/** Resident memory after so many jobs, or reloads. */
export interface MemoryPoint {
  readonly done: number;
  readonly parentMib: number;
  /** Of all inference processes together. */
  readonly inferenceMib: number;
}

interface Watch {
  /** What is watched and what is done meanwhile. */
  readonly name: string;
  readonly unit: string;
  /** How often it is done between two looks. */
  readonly step: number;
  readonly doSome: (count: number) => Promise<void>;
  readonly pids: () => Promise<{ readonly parent: number; readonly inference: readonly number[] }>;
}

const JOBS = 100_000;
const QUICK_JOBS = 2_000;
const RELOADS = 50;
const QUICK_RELOADS = 10;
const POINTS = 10;
/** Points that are compared: after 50 to 70 % of what is done, and after 80 to 100 %. */
const EARLY = [4, 7] as const;
const LATE = [7, 10] as const;

const METRICS: readonly Metric<MemoryPoint>[] = [
  { title: 'parent, MiB', better: 'less', of: ({ parentMib }) => parentMib },
  { title: 'inference processes, MiB', better: 'less', of: ({ inferenceMib }) => inferenceMib },
];

export interface JobMemoryOptions extends BenchmarkOptions {
  /** Short texts: what counts is the number of jobs. */
  readonly set: TextSet;
  readonly worker: WorkerSide;
}

/** Whether the memory of the whole worker grows with the number of jobs, once it has grown to what is needed. */
export function measureJobMemory({ set, worker, ...options }: JobMemoryOptions): Promise<readonly CaseResult[]> {
  const name = `${set.model.name}: resident memory of the worker`;
  return watchMemory(options, {
    ...{ name, unit: 'jobs', step: (options.quick ? QUICK_JOBS : JOBS) / POINTS },
    async doSome(count) {
      for (let left = count; left > 0; left -= set.texts.length) {
        await worker.drain(jobsOf(set, { textsPerJob: 1, class: 'standard' }).slice(0, left));
      }
    },
    pids: async () => ({ parent: worker.pid, inference: await worker.inferencePids() }),
  });
}

export interface ReloadMemoryOptions extends BenchmarkOptions {
  /** Texts that are run while models are loaded. */
  readonly set: TextSet;
  readonly scheduler: SchedulerSide;
}

/** Whether memory grows with the number of times that all models are loaded anew, while texts are run. */
export function measureReloadMemory({
  set,
  scheduler,
  ...options
}: ReloadMemoryOptions): Promise<readonly CaseResult[]> {
  return watchMemory(options, {
    ...{ name: 'resident memory of this process, as parent of inference processes', unit: 'reloads' },
    step: (options.quick ? QUICK_RELOADS : RELOADS) / POINTS,
    async doSome(count) {
      for (let reload = 0; reload < count; reload++) await Promise.all([scheduler.reload(), scheduler.drain(set)]);
    },
    pids: async () => ({ parent: process.pid, inference: scheduler.inferencePids }),
  });
}

/** Nothing where the system does not tell. */
async function watchMemory(
  { report, signal }: BenchmarkOptions,
  { name, unit, step, doSome, pids }: Watch,
): Promise<readonly CaseResult[]> {
  const points: MemoryPoint[] = [];
  for (let done = step; points.length < POINTS; done += step) {
    signal.throwIfAborted();
    await doSome(step);
    const { parent, inference } = await pids();
    const parentBytes = readResidentBytes(parent);
    if (parentBytes === undefined) return [];
    const inferenceBytes = inference.reduce((sum, pid) => sum + (readResidentBytes(pid) ?? 0), 0);
    const point = { done, parentMib: parentBytes / 2 ** 20, inferenceMib: inferenceBytes / 2 ** 20 };
    points.push(point);
    report(`${done} ${unit}: parent ${point.parentMib.toFixed(0)}, inference ${point.inferenceMib.toFixed(0)} MiB`);
  }
  const [early, late] = [points.slice(...EARLY), points.slice(...LATE)];
  const named = (some: readonly MemoryPoint[]): string => `${countOf(some[0])} – ${countOf(some.at(-1))} ${unit}`;
  const rounds = { [named(early)]: early, [named(late)]: late, before: points.slice(0, EARLY[0]) };
  return [{ name, rounds, comparisons: compare(METRICS, early, late) }];
}

function countOf(point: MemoryPoint | undefined): string {
  return (point?.done ?? 0).toLocaleString('en-US');
}
