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
    scope: string;
    subject: string;
    name: string;
    used: string;
    overage: string;
    max: string;
    excess: string;
    age: number;
  }>(
    `SELECT scope, subject, name, used::float8, overage::float8, max::float8, excess::float8,
       (now() AT TIME ZONE 'UTC')::date - period_start AS age
     FROM v_recon_over_limit ORDER BY name, subject, period_start DESC`,
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

  it('looks at API keys and models, each with its own limits', async () => {
    await putPlans(books, {
      basic: {
        limits: {},
        perApiKey: { tokensPerDay: 10 },
        perModel: { '*': { tokensPerDay: 20 }, big: { tokensPerMonth: 30 } },
      },
    });
    await books.store.upsertTenant({ tenantId: 'acme', plan: 'basic', timeZone: 'UTC' });
    await ageHistory(books);
    const newKey = (name: string, limits = {}) =>
      books.store.createApiKey({ tenantId: 'acme', name, limits, prefix: 'sk', keyHash: Buffer.alloc(32, name) });
    const { apiKeyId: usual } = await newKey('usual');
    const { apiKeyId: large } = await newKey('large', { tokensPerDay: 40 });
    await addUse(books, { apiKeyId: usual, model: 'small', tokens: 12, overageTokens: 2 });
    await addUse(books, { apiKeyId: large, model: 'big', tokens: 30 });
    await addUse(books, { apiKeyId: large, model: 'small', tokens: 8 });
    expect(await overLimit()).toEqual([]);
    await addUse(books, { apiKeyId: usual, model: 'big', tokens: 1 });
    await addUse(books, { apiKeyId: large, model: 'small', tokens: 3 });
    expect(await overLimit()).toMatchObject(
      [
        { scope: 'apiKey', subject: large, name: 'api-key:tokens-per-day', used: 41, max: 40, excess: 1 },
        { scope: 'apiKey', subject: usual, name: 'api-key:tokens-per-day', used: 13, overage: 2, max: 10, excess: 1 },
        { scope: 'model', subject: 'big', name: 'model:tokens-per-month', used: 31, max: 30, excess: 1 },
        { scope: 'model', subject: 'small', name: 'model:tokens-per-day', used: 23, overage: 2, max: 20, excess: 1 },
      ].toSorted((a, b) => a.name.localeCompare(b.name) || a.subject.localeCompare(b.subject)),
    );
  });

  it('says nothing of a period in which the own limits of a key were changed', async () => {
    await createTenant({});
    const { apiKeyId } = await books.store.createApiKey({
      ...{ tenantId: 'acme', name: 'k', prefix: 'sk', keyHash: Buffer.alloc(32, 1), limits: { tokensPerDay: 100 } },
    });
    for (const days of [0, 1]) await addUse(books, { apiKeyId, tokens: 50, atMs: Date.now() - days * DAY_MS });
    await books.query(`UPDATE api_keys SET name = 'renamed'`);
    expect(await overLimit()).toEqual([]);
    await books.query(`UPDATE api_keys SET limits = '{"tokensPerDay": 10}'`);
    expect(await overLimit()).toEqual([]);
    await books.query(`UPDATE api_keys SET limits_since = limits_since - interval '24 hours 6 minutes'`);
    expect(await overLimit()).toMatchObject([{ subject: apiKeyId, age: 0 }]);
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
