import type { Database } from './database.js';
import { loadStatement } from './statements.js';

export type UsageGroup = 'hour' | 'day' | 'month' | 'model' | 'apiKey';

export interface UsageQuery {
  readonly tenantId: string;
  /** Unix milliseconds, inclusive and exclusive. Usage is kept by 15 minutes: a bucket counts when it begins within. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly groupBy: UsageGroup;
  /** IANA time zone in which hours, days and months begin. */
  readonly timeZone: string;
}

export interface UsageRow {
  /**
   * `2026-11-21` of a day, `2026-11` of a month, in the zone of the query; of an hour the UTC instant at which the
   * local hour begins, `2026-11-21T04:30:00Z`; a model's name or an API key's id.
   */
  readonly group: string;
  /** Terminal jobs. */
  readonly jobs: number;
  /** Those of them that did not succeed. */
  readonly failedJobs: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cachedTokens: number;
  readonly amountNanoUsd: bigint;
}

export interface PostedQuery {
  readonly tenantId: string;
  /** Unix milliseconds, inclusive and exclusive; compared with the acceptance time of jobs, exactly. */
  readonly fromMs: number;
  readonly toMs: number;
}

export interface UsageReports {
  /** A tenant's usage, ordered by group; groups without any are absent. */
  findUsage(query: UsageQuery): Promise<readonly UsageRow[]>;
  /** Input and output tokens of jobs that were accepted in a period and have ended. */
  postedTokens(query: PostedQuery): Promise<number>;
}

/** The roll-up's buckets begin at whole multiples of this since the epoch. */
const BUCKET_MS = 900_000;

const statements = { findUsage: loadStatement('find-usage'), postedTokens: loadStatement('posted-tokens') };

interface UsageSums {
  readonly group: string;
  readonly jobs: bigint;
  readonly failed_jobs: bigint;
  readonly input_tokens: bigint;
  readonly output_tokens: bigint;
  readonly cached_tokens: bigint;
  readonly amount_nano_usd: bigint;
}

export function createUsageReports(database: Database): UsageReports {
  return {
    async findUsage({ tenantId, fromMs, toMs, groupBy, timeZone }) {
      const values = [tenantId, fromMs, toMs, groupBy, timeZone];
      const rows = await database.run<UsageSums & Record<string, unknown>>(statements.findUsage, values);
      return rows.map(toUsageRow);
    },

    async postedTokens({ tenantId, fromMs, toMs }) {
      if (fromMs >= toMs) return 0;
      const beginMs = Math.min(Math.ceil(fromMs / BUCKET_MS) * BUCKET_MS, toMs);
      const endMs = Math.max(Math.floor(toMs / BUCKET_MS) * BUCKET_MS, beginMs);
      const values = [tenantId, fromMs, toMs, beginMs, endMs];
      const [row] = await database.run<{ tokens: bigint }>(statements.postedTokens, values);
      return Number(row?.tokens ?? 0);
    },
  };
}

/** Counts stay far below 2^53 (a tenant's tokens of a month are limited to 9e12); amounts need not. */
function toUsageRow(row: UsageSums): UsageRow {
  return {
    group: row.group,
    jobs: Number(row.jobs),
    failedJobs: Number(row.failed_jobs),
    inputTokens: Number(row.input_tokens),
    outputTokens: Number(row.output_tokens),
    cachedTokens: Number(row.cached_tokens),
    amountNanoUsd: row.amount_nano_usd,
  };
}
