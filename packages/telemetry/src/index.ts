export * from './bounds.js';
export * from './metrics.js';
export * from './process-metrics.js';
export * from './version.js';
