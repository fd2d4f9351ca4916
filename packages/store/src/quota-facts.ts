import type { LimitScope, LimitUnit } from '@sluice/contracts';
import type { Database } from './database.js';
import { loadStatement } from './statements.js';

/** A job that was accepted and has not ended. Times are Unix milliseconds. */
export interface OpenHold {
  readonly jobId: string;
  readonly apiKeyId: string;
  readonly model: string;
  readonly reservedTokens: number;
  readonly reservedNanoUsd: number;
  readonly expiresAtMs: number;
  readonly acceptedAtMs: number;
}

/** Unix milliseconds, inclusive and exclusive; compared with the acceptance time of jobs, exactly. */
export interface TimeWindow {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Something to be summed up: for the tenant as a whole, or for each API key or model by itself. */
export interface Measure {
  readonly scope: LimitScope;
  readonly unit: LimitUnit;
  /**
   * `period`: what settled jobs used that were accepted in it. `rate`: what a token bucket lacks now that `max` units fill
   * within `windowMs`; a measure for each `max` where subjects have different ones.
   */
  readonly window: ({ readonly kind: 'period' } & TimeWindow) | RateWindow;
}

export interface RateWindow {
  readonly kind: 'rate';
  readonly max: number;
  readonly windowMs: number;
}

export interface MeasuredAmount {
  /** Index of the measure. */
  readonly measure: number;
  /** Empty for the tenant, else an API key's id or a model's name. */
  readonly subject: string;
  /**
   * Of a period: whole units. Of a rate: units missing from the bucket at the query's `nowMs`, open jobs included with what
   * is held for them; may have a fraction and may exceed `max` (debt).
   */
  readonly used: number;
  /** The part of `used` that went beyond what was held. */
  readonly overage: number;
}

export interface QuotaFactsQuery {
  readonly tenantId: string;
  readonly measures: readonly Measure[];
  /**
   * Now, by the clock that jobs are dated by (Unix milliseconds): rates are told as of this moment. What the database has
   * dated itself (when overage was recorded) counts by its age, so that no difference between the clocks matters. By the
   * database's clock when absent.
   */
  readonly nowMs?: number;
}

/** A tenant's usage at one moment. */
export interface QuotaFacts {
  /** In no particular order; subjects that used nothing are absent. */
  readonly amounts: readonly MeasuredAmount[];
  /** All open jobs of the tenant, whenever they were accepted, oldest first. */
  readonly openHolds: readonly OpenHold[];
}

export interface QuotaFactsReader {
  /**
   * What a tenant has used and what it has open, in one snapshot of the database: a job that ends meanwhile is counted
   * in `openHolds` or as used, never in both or neither.
   *
   * Whole 15-minute buckets of a period cost one roll-up row for each model and key. What lies before and after them
   * is read from the tenant's entries in the ledger: at most 15 minutes each; days and months of any time zone consist of
   * whole buckets.
   *
   * Rates cost the tenant's last 15–30 minutes of the ledger, which count exactly. What was accepted before counts as if it were taken
   * at the end of its 15 minutes, but never as more than a full bucket and the overage: no less than it really was as long
   * as the limit was in force then, and up to one `max` more.
   */
  quotaFacts(query: QuotaFactsQuery): Promise<QuotaFacts>;
}

/** The roll-up's buckets begin at whole multiples of this since the epoch. */
const BUCKET_MS = 900_000;

const statement = loadStatement('quota-facts');

interface QuotaFactsRow {
  readonly amounts: readonly MeasuredAmount[];
  readonly open_holds: readonly {
    readonly job_id: string;
    readonly api_key_id: string;
    readonly model: string;
    readonly reserved_tokens: number;
    readonly reserved_nano_usd: number;
    readonly expires_at_ms: number;
    readonly accepted_at_ms: number;
  }[];
}

export function createQuotaFactsReader(database: Database): QuotaFactsReader {
  return {
    async quotaFacts({ tenantId, measures, nowMs }) {
      const values = [tenantId, ...measureArrays(measures), nowMs === undefined ? null : Math.floor(nowMs)];
      const [row] = await database.run<QuotaFactsRow & Record<string, unknown>>(statement, values);
      if (row === undefined) throw new Error('quota-facts.sql returned no row');
      return { amounts: row.amounts, openHolds: row.open_holds.map(toOpenHold) };
    },
  };
}

/** `$2` to `$10` of quota-facts.sql. Measures of the same period share a window, which then is read once. */
export function measureArrays(measures: readonly Measure[]): readonly (readonly (string | number | null)[])[] {
  const windows = new Map<string, TimeWindow>();
  const positions = measures.map(({ window }) => {
    if (window.kind === 'rate') return null;
    const key = `${window.fromMs} ${window.toMs}`;
    if (!windows.has(key)) windows.set(key, window);
    return [...windows.keys()].indexOf(key) + 1;
  });
  const cuts = [...windows.values()].map(cutAtBuckets);
  const rates = measures.map(({ window }) => (window.kind === 'rate' ? window : undefined));
  return [
    cuts.map(({ fromMs }) => fromMs),
    cuts.map(({ beginMs }) => beginMs),
    cuts.map(({ endMs }) => endMs),
    cuts.map(({ toMs }) => toMs),
    measures.map(({ scope }) => scope),
    measures.map(({ unit }) => unit),
    positions,
    rates.map((rate) => rate?.max ?? null),
    rates.map((rate) => rate?.windowMs ?? null),
  ];
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
    apiKeyId: hold.api_key_id,
    model: hold.model,
    reservedTokens: hold.reserved_tokens,
    reservedNanoUsd: hold.reserved_nano_usd,
    expiresAtMs: hold.expires_at_ms,
    acceptedAtMs: hold.accepted_at_ms,
  };
}
