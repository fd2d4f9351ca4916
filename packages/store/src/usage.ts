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

export interface UsageReports {
  /** A tenant's usage, ordered by group; groups without any are absent. */
  findUsage(query: UsageQuery): Promise<readonly UsageRow[]>;
}

const findUsageStatement = loadStatement('find-usage');

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
      const rows = await database.run<UsageSums & Record<string, unknown>>(findUsageStatement, values);
      return rows.map(toUsageRow);
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
