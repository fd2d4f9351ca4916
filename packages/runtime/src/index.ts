export * from './config-error.js';
export * from './config-file.js';
export * from './deadline.js';
export * from './environment.js';
export * from './lifecycle.js';
export * from './logger.js';
export * from './main.js';
export * from './ops-server.js';
