export * from './app-process.js';
export * from './client.js';
export * from './database.js';
export * from './paths.js';
export * from './suite.js';
