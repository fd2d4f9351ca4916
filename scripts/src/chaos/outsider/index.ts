export { judge, type JudgeOptions } from './judge.js';
export { startLoad, type Load, type LoadOptions } from './load.js';
export { writeObservations, type Counts } from './journal.js';
export type * from './observations.js';
export { SUITE_SETTINGS } from './settings.js';
export { createTenants, type Account, type Client, type Tenants, type TenantsOptions } from './tenants.js';
export type { Check, Drain, Offence, Verdict } from './verdict.js';
