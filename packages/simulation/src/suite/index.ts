import { SABOTAGES } from './defects/index.js';

export { runSeed } from './run.js';
/** Names of the built-in defects. */
export const defects: readonly string[] = Object.keys(SABOTAGES);
