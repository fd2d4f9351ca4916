import { expect } from '@jest/globals';
import type { Store } from '../src/index.js';
import type { LedgerEntry, StoreModel } from '../src/model/index.js';
import { BEGIN_MS, HOUR, KEY_HASHES, MINUTE, type Questions, TENANTS } from './random-books.js';
import type { TurnedBooks } from './turned-books.js';

interface Pair {
  readonly stores: readonly [Store, Store, Store];
  readonly model: StoreModel;
  readonly nowMs: number;
}

interface Asked extends Questions {
  readonly jobs: readonly { readonly jobId: string; readonly tenantId: string }[];
}

/** Asks both everything that programs ask. */
export async function expectSameReads(pair: Pair, { jobs, ...questions }: Asked): Promise<void> {
  const { stores, model, nowMs } = pair;
  const ids = jobs.map(({ jobId }) => jobId);
  expect(await stores[0].terminalFacts(ids)).toEqual(model.terminalFacts(nowMs, ids));
  expect((await stores[0].findPrices()).map(withoutId)).toEqual(model.findPrices(nowMs).map(withoutId));
  expect(await stores[1].backlog()).toEqual(model.backlog(nowMs));
  await Promise.all([
    ...jobs.map(async ({ jobId, tenantId }, index) => {
      const asking = index % 4 === 3 ? 'nobody' : tenantId;
      expect(await stores[0].findJob(asking, jobId)).toEqual(model.findJob(nowMs, asking, jobId));
    }),
    ...TENANTS.map((tenantId, index) =>
      expectSameTenant(pair, stores[index === 0 ? 1 : 2], { tenantId, ...questions }),
    ),
  ]);
}

async function expectSameTenant(
  { model, nowMs }: Pair,
  store: Store,
  { tenantId, measures, aheadMs }: Questions & { readonly tenantId: string },
): Promise<void> {
  for (const clock of [{}, { nowMs: nowMs + aheadMs }]) {
    const query = { tenantId, measures, ...clock };
    expect(sorted(await store.quotaFacts(query))).toEqual(sorted(model.quotaFacts(nowMs, query)));
  }
  for (const limit of [1, 2, 100]) {
    const query = { tenantId, sinceMs: BEGIN_MS - HOUR, limit };
    expect(await store.recentKeys(query)).toEqual(model.recentKeys(nowMs, query));
  }
  for (const keyHash of KEY_HASHES) {
    const key = { tenantId, keyHash, sinceMs: BEGIN_MS - 20 * MINUTE };
    expect(await store.findJobByKey(key)).toEqual(model.findJobByKey(nowMs, key));
  }
  const lists = [
    { limit: 3 },
    { limit: 100, maxExamined: 3, model: 'chat' },
    { limit: 100, states: ['queued' as const] },
    { limit: 2, states: ['queued' as const, 'failed' as const], maxExamined: 2 },
    { limit: 100, states: ['expired' as const, 'canceled' as const], fromMs: BEGIN_MS - HOUR, toMs: BEGIN_MS },
  ];
  for (const list of lists) {
    expect(await store.listJobs({ tenantId, ...list })).toEqual(model.listJobs(nowMs, { tenantId, ...list }));
  }
}

function sorted({ amounts, openHolds }: ReturnType<StoreModel['quotaFacts']>) {
  const inOrder = amounts.toSorted((a, b) => a.measure - b.measure || (a.subject < b.subject ? -1 : 1));
  return { amounts: inOrder, openHolds };
}

function withoutId<T extends { readonly priceId: bigint }>({ priceId: _priceId, ...price }: T): Omit<T, 'priceId'> {
  return price;
}

interface Books {
  readonly ledger: readonly unknown[];
  readonly usage: readonly unknown[];
}

/** The ledger and the roll-up of the model, each in the order of its key. */
export function booksOf(model: StoreModel): Books {
  const ledger = [...model.ledger()].map((entry) => ({ ...entry, state: entry.state ?? null }));
  const inOrder = (rows: unknown[][]): unknown[][] => rows.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  const keyOf = (row: unknown[]): string => row.slice(0, 4).join(' ');
  return {
    ledger: inOrder(ledger.map((entry) => LEDGER_COLUMNS.map((column) => entry[column]))),
    usage: inOrder(
      model
        .rollup()
        .map((row) => [
          ...[row.tenantId, row.bucketMs, row.model, row.apiKeyId],
          ...[row.jobs, row.failedJobs, row.inputTokens, row.outputTokens, row.cachedTokens].map(BigInt),
          ...[row.amountNanoUsd, BigInt(row.reservedTokens), BigInt(row.overageTokens), row.overageNanoUsd],
        ]),
    ),
  };
}

const LEDGER_COLUMNS = [
  ...(['jobId', 'phase', 'jobAtMs', 'tenantId', 'apiKeyId', 'model', 'state', 'inputTokens', 'outputTokens'] as const),
  ...(['cachedTokens', 'amountNanoUsd', 'reservedTokens', 'overageTokens', 'overageNanoUsd', 'recordedAtMs'] as const),
] satisfies readonly (keyof LedgerEntry)[];

/** The same of PostgreSQL. */
export async function readBooks(books: TurnedBooks): Promise<Books> {
  const ms = (column: string): string => `(extract(epoch FROM ${column}) * 1000)::float8 AS ${column}`;
  const ledger =
    await books.query(`SELECT job_id, phase, ${ms('job_at')}, tenant_id, api_key_id, model, state, input_tokens,
      output_tokens, cached_tokens, amount_nano_usd, reserved_tokens, overage_tokens, overage_nano_usd, ${ms('recorded_at')}
    FROM ledger ORDER BY job_id, phase`);
  const usage =
    await books.query(`SELECT tenant_id, ${ms('bucket')}, model, api_key_id, jobs, failed_jobs, input_tokens,
      output_tokens, cached_tokens, amount_nano_usd, reserved_tokens, overage_tokens, overage_nano_usd
    FROM usage_15m ORDER BY tenant_id, usage_15m.bucket, model COLLATE "C", api_key_id`);
  return { ledger: ledger.map(Object.values), usage: usage.map(Object.values) };
}
