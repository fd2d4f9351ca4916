export { NotSimulated } from './broker-error.js';
export { createSimRabbit } from './sim-rabbit.js';
export type { QueueDepth, SimRabbit } from './sim-rabbit.js';
