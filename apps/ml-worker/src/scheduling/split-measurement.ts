import type { TextModel } from '@sluice/models';
import { delay } from '@sluice/runtime';
import type { InferenceHost } from '../inference/inference-host.js';
import type { KeyedModel } from '../inference/inference-protocol.js';
import { hasTexts } from '../models/served-models.js';
import { fitCostCurve } from './cost-fit.js';
import { createCostModel } from './cost-model.js';
import { drawnTexts, measureRuns, type Run } from './cost-measurement.js';

/** For how long runs of all models together are looked at before some are chosen, in milliseconds of processor time. */
const LOOK_MS = 600;
/** How long all processes, busy, should need for the runs of all models, in milliseconds. */
const PASS_MS = 200;
/** A kind of runs that takes more than this many times its share of that is left out, but for the first. */
const MOST_OF_SHARE = 2;
/** Passes through the runs of each model; the fastest counts, since whatever disturbs one makes it longer. */
const PASSES = 3;

const WARM_EVERY_MS = 10;

/** How the cores are divided among inference processes. */
export interface Split {
  readonly processes: number;
  /** Threads of each. */
  readonly threads: number;
}

export type MeasuredHost = Pick<InferenceHost, 'start' | 'stop' | 'idle' | 'run'>;

export interface SplitMeasurementOptions {
  /** All that the processes load; those of tensors are not run. */
  readonly models: readonly KeyedModel[];
  /** Processes that serve the models; they are started, measured and stopped. */
  readonly hostOf: (split: Split) => MeasuredHost;
  /** How long an inference process may take to load the models, in milliseconds: all of them are to be warm by then. */
  readonly loadTimeoutMs: number;
  /** Ends the processes that are being measured, at once. */
  readonly stop: AbortSignal;
}

/** Runs of one model. */
interface Workload {
  readonly key: string;
  /** The longest first, so that no process has one to itself at the end. */
  readonly runs: readonly (readonly Int32Array[])[];
}

/**
 * @returns what measures a split: how long each model's runs take with it while all processes are busy, in milliseconds. The runs are
 *   chosen with the first split that it is called for, which should have one thread, and the same for all that follow. It rejects when the
 *   processes cannot be started, do not get through, or are stopped; none of them is left then.
 */
export function createSplitMeasurement(options: SplitMeasurementOptions): (split: Split) => Promise<readonly number[]> {
  const { loadTimeoutMs, stop } = options;
  let workloads: readonly Workload[] | undefined;
  return async (split) => {
    stop.throwIfAborted();
    const host = options.hostOf(split);
    const end = (): void => void host.stop();
    stop.addEventListener('abort', end);
    try {
      const endsAtMs = performance.now() + loadTimeoutMs;
      await host.start();
      await allWarm({ host, split, endsAtMs, stop });
      workloads ??= await chooseRuns(options.models.filter(hasTexts), host, split.processes);
      return await timeRuns(workloads, host, split.processes);
    } finally {
      stop.removeEventListener('abort', end);
      await host.stop();
    }
  };
}

interface WarmUp extends Pick<SplitMeasurementOptions, 'stop'> {
  readonly host: MeasuredHost;
  readonly split: Split;
  readonly endsAtMs: number;
}

async function allWarm({ host, split, endsAtMs, stop }: WarmUp): Promise<void> {
  while (host.idle < split.processes) {
    if (performance.now() > endsAtMs) throw new Error('not all inference processes became warm');
    await delay(WARM_EVERY_MS, stop);
    stop.throwIfAborted();
  }
}

/**
 * Runs of each model such as batches are made of: one text, or several as long as that does not make a token dearer; short ones and long
 * ones, each kind for about as much time in processes of one thread.
 */
async function chooseRuns(
  models: readonly KeyedModel<TextModel>[],
  host: MeasuredHost,
  processes: number,
): Promise<readonly Workload[]> {
  const workloads: Workload[] = [];
  for (const { key, model } of models) {
    const run: Run = (sequences) => host.run(key, sequences);
    const budgetMs = LOOK_MS / models.length;
    const { points, tripMs, problem } = await measureRuns({ file: model.file, run, budgetMs, byCpu: true });
    if (problem) throw problem;
    const { bestTokens } = createCostModel({ curve: fitCostCurve(points), tripMs });
    const likely = points.filter(({ texts, length }) => texts === 1 || texts * length <= bestTokens);
    const shareMs = (PASS_MS * processes) / models.length / likely.length;
    const [first, ...others] = likely;
    const kinds = [...(first ? [first] : []), ...others.filter(({ ms }) => ms <= MOST_OF_SHARE * shareMs)];
    const runs = kinds
      .sort((a, b) => b.ms - a.ms)
      .flatMap((kind) => {
        const times = Math.max(processes, Math.round(shareMs / kind.ms));
        return Array.from({ length: times }, () => drawnTexts(kind));
      });
    workloads.push({ key, runs });
  }
  return workloads;
}

/** How long as many processes, all busy, take for each workload at best, in milliseconds. */
async function timeRuns(
  workloads: readonly Workload[],
  host: MeasuredHost,
  processes: number,
): Promise<readonly number[]> {
  const best = workloads.map(() => Infinity);
  for (let pass = 0; pass < PASSES; pass++) {
    for (const [at, workload] of workloads.entries()) {
      best[at] = Math.min(best[at] ?? Infinity, await passMs(workload, host, processes));
    }
  }
  return best;
}

async function passMs({ key, runs }: Workload, host: MeasuredHost, processes: number): Promise<number> {
  const left = runs.values();
  const beganAtMs = performance.now();
  await Promise.all(
    Array.from({ length: processes }, async () => {
      for (const sequences of left) await host.run(key, sequences);
    }),
  );
  return performance.now() - beganAtMs;
}
