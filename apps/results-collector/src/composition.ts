/**
 * The collector without its servers, for a simulation of the suite. Nothing that ships imports this.
 */
export { createCollector, type Collector } from './collector.js';
export type { Config as CollectorConfig } from './config.js';
export type { CollectorServers } from './servers.js';
