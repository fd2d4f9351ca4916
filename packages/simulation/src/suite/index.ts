import { SABOTAGES } from './defects.js';

export { runSeed } from './run.js';
/** Names of the built-in defects. */
export const defects: readonly string[] = Object.keys(SABOTAGES);
