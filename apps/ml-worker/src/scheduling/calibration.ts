import { cpus } from 'node:os';
import { modelDigest, type TextModel } from '@sluice/models';
import type { ExecutionProvider } from '@sluice/models/session';
import type { Logger } from '@sluice/runtime';
import type { InferenceHost } from '../inference/inference-host.js';
import type { KeyedModel } from '../inference/inference-protocol.js';
import { hasTexts } from '../models/served-models.js';
import { openCalibrationFiles, type Circumstances } from './calibration-files.js';
import { fitCostCurve, relativeError } from './cost-fit.js';
import { measureRuns, type Measurement, type Run } from './cost-measurement.js';
import type { CostModel } from './cost-model.js';

/** How long one model may be measured, in milliseconds. */
const BUDGET_MS = 1_000;
/** A curve that is off by more than this from what was measured was measured on a machine that had much else to do. */
const MOST_ERROR = 0.25;

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
  readonly host: Pick<InferenceHost, 'run'>;
  readonly costOf: (key: string) => CostModel;
  readonly logger: Logger;
}

/** Finds out what runs of models cost on this machine. What goes wrong is logged; the model then counts as not measured. */
export interface Calibration {
  /**
   * Measures models of which no file tells, while nothing else runs: about a second each. The host must have a process that
   * can run them.
   */
  calibrate(models: readonly KeyedModel[]): Promise<void>;
  /** Takes from files what they tell of these models, and measures nothing. Resolves with those of which no file tells. */
  recall(models: readonly KeyedModel[]): Promise<readonly KeyedModel[]>;
}

export function createCalibration(options: CalibrationOptions): Calibration {
  const { mode, directory, provider, host, costOf, logger } = options;
  const files = openCalibrationFiles(directory);
  const processor = cpus()[0]?.model ?? 'unknown';

  async function circumstancesOf({ key, model }: KeyedModel): Promise<Circumstances> {
    return { key, digest: await modelDigest(model), processor, provider, threads: options.threads() };
  }

  function adopt(key: string, { points, tripMs }: Measurement): number {
    const curve = fitCostCurve(points);
    costOf(key).adopt({ curve, tripMs });
    return relativeError(curve, points);
  }

  async function recallOne(keyed: KeyedModel): Promise<boolean> {
    const measurement = await files.read(await circumstancesOf(keyed));
    if (measurement) adopt(keyed.key, measurement);
    return measurement !== undefined;
  }

  async function measureOne(keyed: KeyedModel<TextModel>): Promise<void> {
    const { key, model } = keyed;
    // Only then the processor time of a run is what it takes when nothing disturbs it.
    const byCpu = provider === 'cpu' && options.threads() === 1;
    const run: Run = (sequences) => host.run(key, sequences);
    const measurement = await measureRuns({ file: model.file, run, budgetMs: BUDGET_MS, byCpu });
    const error = adopt(key, measurement);
    const facts = {
      model: key,
      points: measurement.points.length,
      bestTokens: Math.round(costOf(key).bestTokens),
      error,
    };
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
  ): Promise<void> {
    if (mode === 'off') return;
    for (const keyed of models.filter(hasTexts)) {
      await work(keyed).catch((err: unknown) => {
        logger.warn({ err, model: keyed.key }, 'what runs of a model cost could not be found out');
      });
    }
  }

  return {
    calibrate: (models) =>
      forEach(models, async (keyed) => {
        if (mode === 'auto' && (await recallOne(keyed))) return;
        await measureOne(keyed);
      }),
    async recall(models) {
      const unknown = new Set(models);
      await forEach(models, async (keyed) => void ((await recallOne(keyed)) && unknown.delete(keyed)));
      return [...unknown];
    },
  };
}
