import { BROKER_DEFECTS } from './broker-defects.js';
import { QUOTA_DEFECTS } from './quota-defects.js';
import type { Sabotage } from './sabotage.js';
import { STORE_DEFECTS } from './store-defects.js';

export type { Sabotage } from './sabotage.js';

/** By name. Each takes away something that the suite relies on, so that some invariant has to notice. */
export const SABOTAGES: Readonly<Record<string, Sabotage>> = { ...STORE_DEFECTS, ...QUOTA_DEFECTS, ...BROKER_DEFECTS };
