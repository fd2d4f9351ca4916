/**
 * The worker without its servers and processes, for a simulation of the suite, and its inference without the rest, for
 * benchmarks. Nothing that ships imports this.
 */
import { fileURLToPath } from 'node:url';

export { loadConfig, type WorkerConfig } from './config.js';
export { createInferenceHost, type InferenceHost } from './inference/inference-host.js';
export type { RunBounds } from './inference/inference-child.js';
export type { RunResult } from './inference/inference-protocol.js';
export type { ModelRoutes, ServedModel, ServedPool, ServedTextModel } from './models/served-models.js';
export { createBatcher } from './scheduling/batcher.js';
export { createBatchings } from './scheduling/batching.js';
export { createCalibration } from './scheduling/calibration.js';
export { parseCalibration } from './scheduling/calibration-files.js';
export { fitCostCurve } from './scheduling/cost-fit.js';
export { createCostModel } from './scheduling/cost-model.js';
export { createScheduler } from './scheduling/scheduler.js';
export { createSchedulingMetrics } from './scheduling/scheduling-metrics.js';
export { createWorker, type Worker, type WorkerOptions } from './worker.js';

/** Path of the module that an inference host forks. */
export const inferenceModulePath = fileURLToPath(new URL('./inference/inference-process.js', import.meta.url));
