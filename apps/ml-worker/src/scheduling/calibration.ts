import { cpus } from 'node:os';
import { modelDigest, type TextModel } from '@sluice/models';
import type { ExecutionProvider } from '@sluice/models/session';
import { delay, type Logger } from '@sluice/runtime';
import type { InferenceHost } from '../inference/inference-host.js';
import type { KeyedModel } from '../inference/inference-protocol.js';
import { hasTexts } from '../models/served-models.js';
import { openCalibrationFiles, type Circumstances } from './calibration-files.js';
import { fitCostCurve, relativeError } from './cost-fit.js';
import { measureRuns, type MeasuredRuns, type Measurement, type Run } from './cost-measurement.js';
import type { CostModel } from './cost-model.js';

/** How long one model may be measured, in milliseconds. */
const BUDGET_MS = 1_000;
/** A curve that is off by more than this from what was measured was measured on a machine that had much else to do. */
const MOST_ERROR = 0.25;
/** With fewer kinds of runs than this, measured before something went wrong, a model counts as not measured. */
const LEAST_POINTS = 4;
const READY_EVERY_MS = 10;

/** `auto` measures what no file tells, `always` everything, `off` nothing and reads nothing. */
export const CALIBRATION_MODES = ['auto', 'always', 'off'] as const;

export interface CalibrationOptions {
  readonly mode: (typeof CALIBRATION_MODES)[number];
  /** Folder of the files; need not exist, or be writable. */
  readonly directory: string;
  /** Threads of an inference process, asked for when something is measured or read. */
  readonly threads: () => number;
  /** What computes in them. */
  readonly provider: ExecutionProvider['name'];
  readonly host: Pick<InferenceHost, 'run' | 'canRun' | 'unavailable'>;
  /** How long an inference process may take to load its models, in milliseconds: so long is waited for one. */
  readonly loadTimeoutMs: number;
  readonly costOf: (key: string) => CostModel;
  readonly logger: Logger;
}

/** Finds out what runs of models cost on this machine. What goes wrong is logged; the model then counts as not measured. */
export interface Calibration {
  /**
   * Measures models of which no file tells, while nothing else runs: about a second each. The host must have a process that
   * can run them, or be about to have one again. A model that ends its process is followed by the next one; what was measured of it before counts
   * until the worker ends. When `stop` aborts, the run under way is stopped and nothing more is adopted or kept.
   */
  calibrate(models: readonly KeyedModel[], stop: AbortSignal): Promise<void>;
  /** Takes from files what they tell of these models, and measures nothing. Resolves with those of which no file tells. */
  recall(models: readonly KeyedModel[]): Promise<readonly KeyedModel[]>;
}

export function createCalibration(options: CalibrationOptions): Calibration {
  const { mode, directory, provider, host, costOf, loadTimeoutMs, logger } = options;
  const files = openCalibrationFiles(directory);
  const processor = cpus()[0]?.model ?? 'unknown';

  async function circumstancesOf({ key, model }: KeyedModel): Promise<Circumstances> {
    return { key, digest: await modelDigest(model), processor, provider, threads: options.threads() };
  }

  function adopt(key: string, { points, tripMs }: Measurement): number {
    const curve = fitCostCurve(points);
    const slowestMs = points.reduce((slowest, { ms }) => Math.max(slowest, ms), 0);
    costOf(key).adopt({ curve, tripMs, slowestMs });
    return relativeError(curve, points);
  }

  async function recallOne(keyed: KeyedModel): Promise<boolean> {
    const measurement = await files.read(await circumstancesOf(keyed));
    if (measurement) adopt(keyed.key, measurement);
    return measurement !== undefined;
  }

  /** Waits for a process: a model that was measured before may have ended the last one. */
  async function ready(key: string, stop: AbortSignal): Promise<void> {
    const endsAtMs = performance.now() + loadTimeoutMs;
    while (!host.canRun(key)) {
      const why = host.unavailable.get(key) ?? (performance.now() > endsAtMs ? 'none became warm' : undefined);
      if (why !== undefined) throw new Error(`there is no inference process to measure with: ${why}`);
      await delay(READY_EVERY_MS, stop);
      stop.throwIfAborted();
    }
  }

  function measure({ key, model }: KeyedModel<TextModel>, stop: AbortSignal): Promise<MeasuredRuns> {
    // Only then the processor time of a run is what it takes when nothing disturbs it.
    const byCpu = provider === 'cpu' && options.threads() === 1;
    const run: Run = (sequences) => host.run(key, sequences, { stop });
    return measureRuns({ file: model.file, run, budgetMs: BUDGET_MS, byCpu });
  }

  async function measureOne(keyed: KeyedModel<TextModel>, stop: AbortSignal): Promise<void> {
    const { key } = keyed;
    await ready(key, stop);
    const { problem, ...measurement } = await measure(keyed, stop);
    stop.throwIfAborted();
    const points = measurement.points.length;
    if (problem && points < LEAST_POINTS) throw problem;
    const error = adopt(key, measurement);
    const facts = { model: key, points, bestTokens: Math.round(costOf(key).bestTokens), error };
    if (problem) {
      return logger.warn({ ...facts, err: problem }, 'a model could only be measured in part, it is not kept');
    }
    if (error > MOST_ERROR)
      return logger.warn(facts, 'a model was measured while the machine was busy, it is not kept');
    logger.info(facts, 'a model was measured');
    await files.write(await circumstancesOf(keyed), measurement).catch((err: unknown) => {
      logger.warn({ err, model: key }, 'what was measured of a model cannot be kept, the next start measures again');
    });
  }

  /** n.b. nobody can make up tensors that a model would take as long for as for real ones, so such models are not measured. */
  async function forEach(
    models: readonly KeyedModel[],
    work: (keyed: KeyedModel<TextModel>) => Promise<void>,
    stop?: AbortSignal,
  ): Promise<void> {
    if (mode === 'off') return;
    for (const keyed of models.filter(hasTexts)) {
      if (stop?.aborted) return;
      await work(keyed).catch((err: unknown) => {
        if (stop?.aborted) return;
        logger.warn({ err, model: keyed.key }, 'what runs of a model cost could not be found out');
      });
    }
  }

  return {
    calibrate(models, stop) {
      const findOut = async (keyed: KeyedModel<TextModel>): Promise<void> => {
        if (mode === 'auto' && (await recallOne(keyed))) return;
        await measureOne(keyed, stop);
      };
      return forEach(models, findOut, stop);
    },
    async recall(models) {
      const unknown = new Set(models);
      await forEach(models, async (keyed) => void ((await recallOne(keyed)) && unknown.delete(keyed)));
      return [...unknown];
    },
  };
}
