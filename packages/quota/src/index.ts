export { closeRedis, connectRedis, redisReady, type RedisConnectionOptions } from './connection.js';
export type { HoldRef } from './expired-holds.js';
export { createJobWaiter, type JobWaiter, type JobWaiterOptions, type WaitOptions } from './job-waiter.js';
export {
  LARGEST_MAX,
  limitsOf,
  monthOf,
  TOKENS_PER_MINUTE,
  TOKENS_PER_MONTH,
  type Limit,
  type LimitKind,
  type LimitStatus,
  type Period,
} from './limits.js';
export {
  createQuota,
  type JobSnapshot,
  type Load,
  type OpenHold,
  type Quota,
  type QuotaOptions,
  type Reservation,
  type ReserveOutcome,
  type Settlement,
  type SettleOutcome,
} from './quota.js';
