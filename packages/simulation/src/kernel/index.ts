export { ConnectionLost } from './connection-lost.js';
export { createKernel } from './kernel.js';
export { createRandom } from './random.js';
export * from './types.js';
export { attach, detach } from './edges/host.js';
export { installEdges } from './edges/install.js';
export { realDate, realNowMs } from './edges/real.js';
