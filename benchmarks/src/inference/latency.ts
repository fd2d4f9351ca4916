import { setTimeout as sleep } from 'node:timers/promises';
import type { AcceptedMessage } from '@sluice/contracts';
import type { BenchmarkOptions } from '../harness/benchmark.js';
import { compare, type Metric } from '../harness/comparison.js';
import type { CaseResult } from '../harness/report.js';
import { percentiles, spread, type Percentiles } from '../harness/statistics.js';
import type { BareLoop } from './bare-loop.js';
import { oneByOne } from './batch-cuts.js';
import { jobsOf } from './jobs.js';
import type { TextSet } from './text-set.js';
import type { WorkerSide } from './worker-side.js';

/** What one round at one rate gave. */
export interface LatencyRound {
  readonly perSecond: number;
  /** From the moment a job should be published by the clock to the arrival of its confirmed result. */
  readonly resultMs: Percentiles;
  /** The same, less the time of the text's bare run in a session. */
  readonly overheadMs: Percentiles;
}

export interface LatencyOptions extends BenchmarkOptions {
  readonly set: TextSet;
  readonly worker: WorkerSide;
  readonly loop: BareLoop;
}

const LOADS = [0.2, 0.5, 0.8] as const;
const ROUNDS = 3;
/** Jobs that are unanswered while it is found out what a worker's most is. */
const UNANSWERED = 128;
const ROUND_MS = 8_000;
const QUICK_ROUND_MS = 500;

const METRICS: readonly Metric<LatencyRound>[] = [
  { title: 'jobs/s', better: 'none', of: ({ perSecond }) => perSecond },
  { title: 'published → result p50, ms', better: 'less', of: ({ resultMs }) => resultMs.p50 },
  { title: 'published → result p99, ms', better: 'less', of: ({ resultMs }) => resultMs.p99 },
  { title: 'over the bare run p50, ms', better: 'none', of: ({ overheadMs }) => overheadMs.p50 },
  { title: 'over the bare run p99, ms', better: 'none', of: ({ overheadMs }) => overheadMs.p99 },
];

/**
 * Jobs of one text each by the clock, at shares of what the worker has just shown to be its most while jobs were published as fast as
 * they were answered: interactive ones, since only those are in a hurry.
 */
export async function measureLatency(options: LatencyOptions): Promise<readonly CaseResult[]> {
  const { set, worker, loop, quick, rounds = quick ? 1 : ROUNDS, report, signal } = options;
  const bareMs = await loop.time(oneByOne(set.sequences.map(({ length }) => length)));
  const jobs = (): readonly AcceptedMessage[] => jobsOf(set, { textsPerJob: 1, class: 'interactive' });
  const figures = new Map<number, LatencyRound[]>(LOADS.map((load) => [load, []]));
  const saturations: number[] = [];
  for (let round = 1; round <= rounds; round++) {
    signal.throwIfAborted();
    const perSecond = (set.texts.length / (await runUnpaced(worker, jobs()))) * 1000;
    saturations.push(perSecond);
    for (const load of LOADS) {
      const pace = { perSecond: load * perSecond, durationMs: quick ? QUICK_ROUND_MS : ROUND_MS };
      const measured = await runPaced(worker, { jobs, bareMs, ...pace });
      figures.get(load)?.push(measured);
      report(
        `${set.model.name}, round ${round}, ${load * 100} % load: p50 ${measured.resultMs.p50.toFixed(1)}, p99 ${measured.resultMs.p99.toFixed(1)} ms`,
      );
    }
  }
  const [low = [], ...higher] = LOADS.map((load) => figures.get(load) ?? []);
  const saturation = spread(saturations).median.toFixed(0);
  return higher.map((rounds, index) => ({
    name: `${set.model.name}: latency, by the clock; saturation is ${saturation} jobs/s`,
    columns: ['20 % load', `${(LOADS[index + 1] ?? 0) * 100} % load`],
    rounds: { low, high: rounds },
    comparisons: compare(METRICS, low, rounds),
  }));
}

/** Keeps a number of jobs unanswered until all are answered. Resolves with the time that took, in milliseconds. */
async function runUnpaced(worker: WorkerSide, jobs: readonly AcceptedMessage[]): Promise<number> {
  const startedAt = performance.now();
  let submitted = 0;
  let answered = 0;
  const submitNext = async (): Promise<void> => {
    const job = jobs[submitted++];
    if (job) await worker.ends.submit(job);
  };
  const finished = new Promise<void>((resolve, reject) => {
    worker.ends.onCompleted(() => {
      answered += 1;
      if (answered === jobs.length) resolve();
      submitNext().catch(reject);
    });
    for (let count = 0; count < UNANSWERED; count++) submitNext().catch(reject);
  });
  await worker.inTime(finished);
  worker.ends.onCompleted(undefined);
  return performance.now() - startedAt;
}

interface Pace {
  readonly jobs: () => readonly AcceptedMessage[];
  /** Time of each text in a session, by position in the set. */
  readonly bareMs: readonly number[];
  readonly perSecond: number;
  readonly durationMs: number;
}

async function runPaced(worker: WorkerSide, { jobs, bareMs, perSecond, durationMs }: Pace): Promise<LatencyRound> {
  const count = Math.max(1, Math.floor((perSecond * durationMs) / 1000));
  const messages: AcceptedMessage[] = [];
  while (messages.length < count) messages.push(...jobs());
  messages.length = count;
  const positions = new Map(messages.map(({ jobId }, index) => [jobId, index]));
  const resultMs: number[] = [];
  const overheadMs: number[] = [];
  const dueMs = (index: number): number => (index * 1000) / perSecond;

  const startedAt = performance.now();
  const finished = new Promise<void>((resolve) => {
    worker.ends.onCompleted((jobId) => {
      const index = positions.get(jobId);
      if (index === undefined) return;
      const latencyMs = performance.now() - startedAt - dueMs(index);
      resultMs.push(latencyMs);
      overheadMs.push(latencyMs - (bareMs[index % bareMs.length] ?? 0));
      if (resultMs.length === count) resolve();
    });
  });
  const submitted: Promise<void>[] = [];
  while (submitted.length < count) {
    const elapsedMs = performance.now() - startedAt;
    for (let index = submitted.length; index < count && dueMs(index) <= elapsedMs; index++) {
      const message = messages[index];
      if (message) submitted.push(worker.ends.submit(message));
    }
    await sleep(1);
  }
  await Promise.all(submitted);
  await worker.inTime(finished);
  worker.ends.onCompleted(undefined);
  return { perSecond, resultMs: percentiles(resultMs), overheadMs: percentiles(overheadMs) };
}
