export * from './config.js';
export * from './errors.js';
export * from './ids.js';
export * from './jobs.js';
export * from './messages.js';
export * from './names.js';
export * from './topology.js';
