export {
  closeRedis,
  connectRedis,
  redisReady,
  type RedisConnection,
  type RedisConnectionOptions,
} from './connection.js';
export type { HoldRef } from './expired-holds.js';
export { createJobWaiter, type JobWaiter, type JobWaiterOptions, type WaitOptions } from './job-waiter.js';
export { LARGEST_MAX, limitsOf, type Limit, type LimitStatus, type ScopedLimits } from './limits.js';
export { periodOf, startOfDay, type Period } from './periods.js';
export type {
  Amounts,
  JobSnapshot,
  Learned,
  Load,
  LoadedKey,
  LoadedKeys,
  LoadTicket,
  OpenHold,
  Posted,
  Quota,
  Reservation,
  ReserveOutcome,
  Settlement,
  SettleOutcome,
  StoredHold,
  StoredLimit,
  TenantState,
} from './quota.js';
export { createQuota, type QuotaOptions } from './redis-quota.js';
export { redisServer, type RedisServer } from './redis-server.js';
