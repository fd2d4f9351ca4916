import { readFileSync } from 'node:fs';
import type { Reconciliation } from '@sluice/store';
import type pg from 'pg';

/** A row of `jobs`. Times are Unix milliseconds. */
export interface BookedJob {
  readonly jobId: string;
  readonly tenantId: string;
  readonly apiKeyId: string;
  readonly model: string;
  readonly atMs: number;
  readonly reservedTokens: number;
  /** What its client called the request; null when it was none of ours. */
  readonly request: string | null;
  readonly keyHash: string | null;
}

/** A row of the ledger. Money is nano-USD. */
export interface Entry {
  readonly jobId: string;
  /** 1 reserve, 2 terminal. */
  readonly phase: number;
  readonly state: string | null;
  readonly tenantId: string;
  readonly apiKeyId: string;
  readonly model: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cachedTokens: number;
  readonly amountNanoUsd: bigint;
  readonly reservedTokens: number;
  readonly overageTokens: number;
  readonly overageNanoUsd: bigint;
  /** When the job was accepted. */
  readonly atMs: number;
  readonly recordedAtMs: number;
  /** That time as a day of the tenant's calendar, `yyyy-MM-dd`. */
  readonly day: string;
}

export interface Price {
  readonly model: string;
  readonly meter: 'input' | 'output' | 'cached' | 'request';
  readonly fromMs: number;
  /** Null for ever. */
  readonly toMs: number | null;
  readonly nanoUsdPerMillion: bigint;
}

export interface DeadLetter {
  readonly id: number;
  readonly queue: string;
  readonly reason: string;
  readonly type: string;
  readonly jobId: string | null;
  readonly messageId: string;
}

/** What PostgreSQL says of a run. */
export interface Books {
  readonly jobs: readonly BookedJob[];
  readonly entries: readonly Entry[];
  readonly prices: readonly Price[];
  readonly deadLetters: readonly DeadLetter[];
  /** Today by each tenant's calendar. */
  readonly today: ReadonlyMap<string, string>;
  readonly reconciliations: readonly Pick<Reconciliation, 'view' | 'rows' | 'first'>[];
}

const DECIMALS: ReadonlySet<string> = new Set(['amountNanoUsd', 'overageNanoUsd', 'nanoUsdPerMillion']);

/** Reads everything of these tenants but the reconciliation, which is the store's. */
export async function readBooks(
  database: pg.Client,
  tenantIds: readonly string[],
): Promise<Omit<Books, 'reconciliations'>> {
  const today = await rows<{ tenantId: string; day: string }>(database, 'chaos-today', [tenantIds]);
  return {
    jobs: await rows<BookedJob>(database, 'chaos-jobs', [tenantIds]),
    entries: await rows<Entry>(database, 'chaos-ledger', [tenantIds]),
    prices: await rows<Price>(database, 'chaos-prices', []),
    deadLetters: await rows<DeadLetter>(database, 'chaos-dead-letters', []),
    today: new Map(today.map(({ tenantId, day }) => [tenantId, day])),
  };
}

/** Jobs that have begun and not ended. */
export async function countOpenJobs(database: pg.Client, tenantIds: readonly string[]): Promise<number> {
  const [row] = await rows<{ open: number }>(database, 'chaos-open-jobs', [tenantIds]);
  return row?.open ?? 0;
}

async function rows<Row extends object>(database: pg.Client, name: string, values: readonly unknown[]): Promise<Row[]> {
  // n.b. from dist/ as from src/: the statements stay with the sources.
  const path = new URL(`../../../src/chaos/outsider/sql/${name}.sql`, import.meta.url);
  const { rows: found } = await database.query<Row>(readFileSync(path, 'utf8'), [...values]);
  return found.map((row) => withBigints(row));
}

function withBigints<Row extends object>(row: Row): Row {
  const fields = Object.entries(row).map(([name, value]) => [
    name,
    DECIMALS.has(name) ? BigInt(value as string) : (value as unknown),
  ]);
  return Object.fromEntries(fields) as Row;
}
