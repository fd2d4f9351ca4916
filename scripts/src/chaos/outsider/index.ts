export type * from './observations.js';
export type { Account } from './tenants.js';
export type { Check, Drain, Offence, Verdict } from './verdict.js';
