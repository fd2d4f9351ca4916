import { describe, expect, it } from '@jest/globals';
import { addUse, ageHistory, putPlans } from './lifecycle-support.js';
import { useBooks } from './support.js';

const books = useBooks();
const DAY_MS = 86_400_000;

async function createTenant(limits: unknown, { timeZone = 'UTC', overrides = {} } = {}): Promise<void> {
  await putPlans(books, { basic: { limits } });
  await books.store.upsertTenant({ tenantId: 'acme', plan: 'basic', timeZone, overrides });
  await ageHistory(books);
}

async function overLimit() {
  const rows = await books.query<{
    name: string;
    used: string;
    overage: string;
    max: string;
    excess: string;
    age: number;
  }>(
    `SELECT name, used::float8, overage::float8, max::float8, excess::float8,
       (now() AT TIME ZONE 'UTC')::date - period_start AS age
     FROM v_recon_over_limit ORDER BY name, period_start DESC`,
  );
  return rows;
}

describe('v_recon_over_limit', () => {
  it('shows settled use above a hard limit, less what was booked as overage', async () => {
    await createTenant({ tokensPerDay: 1000, moneyPerMonth: '0.000005' });
    await addUse(books, { tokens: 1200, overageTokens: 200, nanoUsd: 6000, overageNanoUsd: 1000 });
    expect(await overLimit()).toEqual([]);
    await addUse(books, { tokens: 1, nanoUsd: 1 });
    expect(await overLimit()).toMatchObject([
      { name: 'money-per-month', used: 6001, overage: 1000, max: 5000, excess: 1 },
      { name: 'tokens-per-day', used: 1201, overage: 200, max: 1000, excess: 1, age: 0 },
    ]);
  });

  it('looks at the period before the current one too, and no further', async () => {
    await createTenant({ tokensPerDay: 10 });
    for (const days of [1, 2]) await addUse(books, { tokens: 11, atMs: Date.now() - days * DAY_MS });
    expect(await overLimit()).toMatchObject([{ name: 'tokens-per-day', age: 1 }]);
  });

  it('leaves soft limits alone, and tenants without any', async () => {
    await createTenant({ tokensPerDay: { max: 10, soft: true } });
    await addUse(books, { tokens: 11 });
    await addUse(books, { tenantId: 'stranger', tokens: 11 });
    expect(await overLimit()).toEqual([]);
  });

  it('takes the largest limit of the period, from plans and from overrides', async () => {
    await createTenant({ tokensPerMonth: 10 }, { overrides: { limits: { tokensPerMonth: 50 } } });
    await addUse(books, { tokens: 50 });
    expect(await overLimit()).toEqual([]);
    await books.store.upsertTenant({ tenantId: 'acme', plan: 'basic', timeZone: 'UTC', overrides: {} });
    expect(await overLimit()).toEqual([]);
    await addUse(books, { tokens: 1 });
    expect(await overLimit()).toMatchObject([{ max: 50, used: 51 }]);
    await putPlans(books, { basic: { limits: { tokensPerMonth: 51 } } });
    expect(await overLimit()).toEqual([]);
    await addUse(books, { tokens: 1 });
    expect(await overLimit()).toMatchObject([{ max: 51, used: 52 }]);
  });

  it('says nothing of a period in which the limit was lifted for a while, or the zone changed', async () => {
    await createTenant({ tokensPerMonth: 10, tokensPerDay: 10 });
    await addUse(books, { tokens: 11 });
    expect(await overLimit()).toHaveLength(2);
    await books.store.upsertTenant({
      tenantId: 'acme',
      plan: 'basic',
      timeZone: 'UTC',
      overrides: { limits: { tokensPerMonth: null } },
    });
    expect(await overLimit()).toMatchObject([{ name: 'tokens-per-day' }]);
    await books.store.upsertTenant({ tenantId: 'acme', plan: 'basic', timeZone: 'Asia/Tokyo', overrides: {} });
    expect(await overLimit()).toEqual([]);
  });

  it('says nothing of use from before the history of limits began', async () => {
    await putPlans(books, { basic: { limits: { tokensPerDay: 10 } } });
    await books.store.upsertTenant({ tenantId: 'acme', plan: 'basic', timeZone: 'UTC' });
    await addUse(books, { tokens: 11, atMs: Date.now() - DAY_MS });
    expect(await overLimit()).toEqual([]);
    await ageHistory(books);
    expect(await overLimit()).toHaveLength(1);
  });
});
