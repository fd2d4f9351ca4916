import { join } from 'node:path';
import {
  createBatcher,
  createBatchings,
  createCalibration,
  createInferenceHost,
  createScheduler,
  createSchedulingMetrics,
  inferenceModulePath,
  loadConfig,
  type ServedTextModel,
} from '@sluice/ml-worker/composition';
import { createLogger } from '@sluice/runtime';
import { createMetrics } from '@sluice/telemetry';
import { CONFIG_DIR, MODEL_DIR } from '@sluice/scripts';
import type { TextSet } from './text-set.js';

export interface SchedulerSideOptions {
  /** For what runs were measured to cost. */
  readonly directory: string;
  readonly processes: number;
  readonly models: readonly ServedTextModel[];
}

/** The worker's scheduler and inference processes in this process, without broker, messages and tokenizers. */
export interface SchedulerSide {
  readonly inferencePids: readonly number[];
  /** Runs texts that all wait from the start, each as a job of its own. Resolves with the time that took, in milliseconds. */
  drain(set: TextSet): Promise<number>;
  /** Loads every model anew; texts may be run meanwhile. Resolves when only processes that have done so are left. */
  reload(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts the processes and waits until all of them are warm and the models are measured. */
export async function startSchedulerSide(options: SchedulerSideOptions): Promise<SchedulerSide> {
  const { directory, processes, models } = options;
  const config = await loadConfig({
    // Not connected to, but required.
    SLUICE_RABBITMQ_URL: 'amqp://localhost',
    SLUICE_CONFIG_DIR: CONFIG_DIR,
    SLUICE_MODEL_DIR: MODEL_DIR,
    SLUICE_CALIBRATION_DIR: join(directory, 'calibration'),
    SLUICE_INFERENCE_PROCESSES: String(processes),
  });
  const logger = createLogger({ app: 'benchmark', level: 'silent' });
  const host = createInferenceHost({
    ...config.inference,
    ...{ modulePath: inferenceModulePath, models: models.map(keyed), logger },
  });
  const batchings = createBatchings(config.batch);
  const scheduler = createScheduler({
    ...{
      host,
      logger,
      batcher: createBatcher(),
      observer: createSchedulingMetrics(createMetrics(), (key) => ({ model: key, version: '' })),
    },
    batchingOf: (model) => batchings.of(model),
    timeoutMs: config.inference.timeoutMs,
    cancelGraceMs: config.cancelGraceMs,
  });
  await host.start();
  await createCalibration({
    ...config.calibration,
    ...{ threads: () => 1, provider: 'cpu', host, logger, costOf: (key: string) => batchings.costOf(key) },
    loadTimeoutMs: config.inference.loadTimeoutMs,
  }).calibrate(models.map(keyed), new AbortController().signal);

  return {
    get inferencePids() {
      return host.pids;
    },
    async drain({ model, sequences }) {
      const served = models.find((other) => other.model.name === model.name);
      if (!served) throw new Error(`the scheduler has no model ${model.name}`);
      const work = { served, class: 'standard', alone: false, remainingMs: Infinity } as const;
      const startedAt = performance.now();
      const outcomes = await Promise.all(
        sequences.map((sequence) => scheduler.run({ ...work, sequences: [sequence] })),
      );
      const elapsedMs = performance.now() - startedAt;
      if (outcomes.some(({ state }) => state !== 'ran')) throw new Error('a text was not run');
      return elapsedMs;
    },
    reload: () => host.serve(models.map(keyed), { onServing: () => undefined, stillNeeded: () => false }),
    stop: () => host.stop(),
  };
}

/** n.b. what goes to a process is plain data, which a tokenizer is not. */
function keyed({ key, model }: ServedTextModel): Pick<ServedTextModel, 'key' | 'model'> {
  return { key, model };
}
