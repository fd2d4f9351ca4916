/**
 * The worker without its servers and processes, for a simulation of the suite. Nothing that ships imports this.
 */
export type { WorkerConfig } from './config.js';
export type { InferenceHost } from './inference/inference-host.js';
export type { RunResult } from './inference/inference-protocol.js';
export type { ModelRoutes, ServedModel, ServedPool } from './models/served-models.js';
export { createWorker, type Worker, type WorkerOptions } from './worker.js';
