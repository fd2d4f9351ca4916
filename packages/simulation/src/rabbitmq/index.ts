export { NotSimulated } from './broker-error.js';
export { createSimRabbit } from './sim-rabbit.js';
export type { QueueDepth, SimRabbit, SimRabbitOptions } from './sim-rabbit.js';
