export * from './deadline.js';
export * from './lifecycle.js';
export * from './logger.js';
