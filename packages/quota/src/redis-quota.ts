import type { Logger } from '@sluice/runtime';
import type { RedisConnection } from './connection.js';
import type { Quota } from './quota.js';

export interface QuotaOptions {
  readonly redis: RedisConnection;
  /** First part of every key. */
  readonly keyPrefix: string;
  readonly logger: Logger;
  /** How long the terminal state of a job can be read at least, in milliseconds; an hour when absent. */
  readonly snapshotTtlMs?: number;
}

/** Quota on Redis. Several may share a connection; it stays the caller's to close. */
export function createQuota(options: QuotaOptions): Quota {
  throw new Error(`quota for ${options.keyPrefix} is being rebuilt`);
}
