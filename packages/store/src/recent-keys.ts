import type { Database } from './database.js';
import { firstIdAt } from './job-ids.js';
import { loadStatement } from './statements.js';

/** The Idempotency-Key of a job, as its accepted message carried it. */
export interface RecentKey {
  readonly keyHash: string;
  /** Hash of the request. */
  readonly fingerprint: string;
  readonly jobId: string;
  /** Unix milliseconds. */
  readonly acceptedAtMs: number;
}

export interface RecentKeysQuery {
  readonly tenantId: string;
  /** Only jobs accepted at or after this (Unix milliseconds). */
  readonly sinceMs: number;
  /** How many keys at most, from 1. */
  readonly limit: number;
}

export interface RecentKeys {
  /** Newest first; a key that was used again after its lifetime is there more than once. */
  readonly keys: readonly RecentKey[];
  /** They are all keys of the jobs accepted at or after this (Unix milliseconds). As asked for, unless there were too many. */
  readonly sinceMs: number;
}

export interface RecentKeysReader {
  /** The newest keys of a tenant. Looks at four times as many jobs as keys at most, and so may return fewer of them. */
  recentKeys(query: RecentKeysQuery): Promise<RecentKeys>;
}

const statement = loadStatement('recent-keys');

interface RecentKeysRow {
  readonly keys: readonly {
    readonly key_hash: string;
    readonly fingerprint: string;
    readonly job_id: string;
    readonly accepted_at_ms: number;
  }[];
  readonly since_ms: bigint;
}

export function createRecentKeysReader(database: Database): RecentKeysReader {
  return {
    async recentKeys({ tenantId, sinceMs, limit }) {
      const values = [tenantId, sinceMs, firstIdAt(sinceMs), limit];
      const [row] = await database.run<RecentKeysRow & Record<string, unknown>>(statement, values);
      if (row === undefined) throw new Error('recent-keys.sql returned no row');
      const keys = row.keys.map(({ key_hash, fingerprint, job_id, accepted_at_ms }) => {
        return { keyHash: key_hash, fingerprint, jobId: job_id, acceptedAtMs: accepted_at_ms };
      });
      return { keys, sinceMs: Number(row.since_ms) };
    },
  };
}
