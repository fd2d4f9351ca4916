export { ConnectionLost } from './connection-lost.js';
export { createKernel } from './kernel.js';
export { createRandom } from './random.js';
export * from './types.js';
