import type { Database } from './database.js';
import { loadStatement } from './statements.js';

/** A job that was accepted and has not ended. Times are Unix milliseconds. */
export interface OpenHold {
  readonly jobId: string;
  readonly reservedTokens: number;
  readonly expiresAtMs: number;
  readonly acceptedAtMs: number;
}

/** Unix milliseconds, inclusive and exclusive; compared with the acceptance time of jobs, exactly. */
export interface TimeWindow {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface QuotaFactsQuery {
  readonly tenantId: string;
  readonly windows: readonly TimeWindow[];
}

/** A tenant's usage at one moment. */
export interface QuotaFacts {
  /** For each window: input and output tokens of the jobs that were accepted in it and have ended. */
  readonly posted: readonly number[];
  /** All open jobs of the tenant, whenever they were accepted, oldest first. */
  readonly openHolds: readonly OpenHold[];
}

export interface QuotaFactsReader {
  /**
   * What a tenant has used and what it has open, in one snapshot of the database: a job that ends meanwhile is counted
   * in `openHolds` or in `posted`, never in both or neither.
   *
   * Whole 15-minute buckets of a window cost one roll-up row for each model and key. What lies before and after them
   * is read from the ledger, which costs as much as all tenants were billed in that time: at most 15 minutes each.
   */
  quotaFacts(query: QuotaFactsQuery): Promise<QuotaFacts>;
}

/** The roll-up's buckets begin at whole multiples of this since the epoch. */
const BUCKET_MS = 900_000;

const statement = loadStatement('quota-facts');

interface QuotaFactsRow {
  readonly posted: readonly number[];
  readonly open_holds: readonly {
    readonly job_id: string;
    readonly reserved_tokens: number;
    readonly expires_at_ms: number;
    readonly accepted_at_ms: number;
  }[];
}

export function createQuotaFactsReader(database: Database): QuotaFactsReader {
  return {
    async quotaFacts({ tenantId, windows }) {
      const cuts = windows.map(cutAtBuckets);
      const [row] = await database.run<QuotaFactsRow & Record<string, unknown>>(statement, [
        tenantId,
        cuts.map(({ fromMs }) => fromMs),
        cuts.map(({ beginMs }) => beginMs),
        cuts.map(({ endMs }) => endMs),
        cuts.map(({ toMs }) => toMs),
      ]);
      if (row === undefined) throw new Error('quota-facts.sql returned no row');
      return { posted: row.posted, openHolds: row.open_holds.map(toOpenHold) };
    },
  };
}

/**
 * The whole buckets `[beginMs, endMs)` within a window, fromMs ≤ beginMs ≤ endMs ≤ toMs. A window that ends before it
 * begins becomes an empty one.
 */
function cutAtBuckets(window: TimeWindow): TimeWindow & { readonly beginMs: number; readonly endMs: number } {
  const { fromMs } = window;
  const toMs = Math.max(window.toMs, fromMs);
  const beginMs = Math.min(Math.ceil(fromMs / BUCKET_MS) * BUCKET_MS, toMs);
  const endMs = Math.max(Math.floor(toMs / BUCKET_MS) * BUCKET_MS, beginMs);
  return { fromMs, beginMs, endMs, toMs };
}

function toOpenHold(hold: QuotaFactsRow['open_holds'][number]): OpenHold {
  return {
    jobId: hold.job_id,
    reservedTokens: hold.reserved_tokens,
    expiresAtMs: hold.expires_at_ms,
    acceptedAtMs: hold.accepted_at_ms,
  };
}
