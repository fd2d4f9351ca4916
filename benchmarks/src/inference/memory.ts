import type { BenchmarkOptions } from '../harness/benchmark.js';
import { compare, type Metric } from '../harness/comparison.js';
import { readResidentBytes } from '../harness/memory.js';
import type { CaseResult } from '../harness/report.js';
import { jobsOf } from './jobs.js';
import type { TextSet } from './text-set.js';
import type { WorkerSide } from './worker-side.js';

/** Resident memory after so many jobs. */
export interface MemoryPoint {
  readonly jobs: number;
  readonly parentMib: number;
  /** Of all inference processes together. */
  readonly inferenceMib: number;
}

export interface MemoryOptions extends BenchmarkOptions {
  /** Short texts: what counts is the number of jobs. */
  readonly set: TextSet;
  readonly worker: WorkerSide;
}

const JOBS = 100_000;
const QUICK_JOBS = 2_000;
const POINTS = 10;
/** Points that are compared: after 50 to 70 % of the jobs, and after 80 to 100 %. */
const EARLY = [4, 7] as const;
const LATE = [7, 10] as const;

const METRICS: readonly Metric<MemoryPoint>[] = [
  { title: "worker's parent, MiB", better: 'less', of: ({ parentMib }) => parentMib },
  { title: 'inference processes, MiB', better: 'less', of: ({ inferenceMib }) => inferenceMib },
];

/** Whether memory grows with the number of jobs, once it has grown to what is needed. Nothing where the system does not tell. */
export async function measureMemory({
  set,
  worker,
  quick,
  report,
  signal,
}: MemoryOptions): Promise<readonly CaseResult[]> {
  const step = (quick ? QUICK_JOBS : JOBS) / POINTS;
  const points: MemoryPoint[] = [];
  for (let jobs = step; points.length < POINTS; jobs += step) {
    signal.throwIfAborted();
    for (let left = step; left > 0; left -= set.texts.length) {
      await worker.drain(jobsOf(set, { textsPerJob: 1, class: 'standard' }).slice(0, left));
    }
    const parent = readResidentBytes(worker.pid);
    if (parent === undefined) return [];
    const pids = await worker.inferencePids();
    const inference = pids.reduce((sum, pid) => sum + (readResidentBytes(pid) ?? 0), 0);
    points.push({ jobs, parentMib: mebibytes(parent), inferenceMib: mebibytes(inference) });
    report(`${jobs} jobs: parent ${mebibytes(parent).toFixed(0)}, inference ${mebibytes(inference).toFixed(0)} MiB`);
  }
  const [early, late] = [points.slice(...EARLY), points.slice(...LATE)];
  return [
    {
      name: `${set.model.name}: resident memory`,
      rounds: { [named(early)]: early, [named(late)]: late, before: points.slice(0, EARLY[0]) },
      comparisons: compare(METRICS, early, late),
    },
  ];
}

function named(points: readonly MemoryPoint[]): string {
  return `${count(points[0])} – ${count(points.at(-1))} jobs`;
}

function count(point: MemoryPoint | undefined): string {
  return (point?.jobs ?? 0).toLocaleString('en-US');
}

function mebibytes(bytes: number): number {
  return bytes / 2 ** 20;
}
