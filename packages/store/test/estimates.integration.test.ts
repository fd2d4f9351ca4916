import { describe, expect, it } from '@jest/globals';
import { addUse, putPlans } from './lifecycle-support.js';
import { accepted, completed, jobIdAt, useBooks } from './support.js';

const books = useBooks();
const AT = Date.now() - 3_600_000;

function job(reserved: number | undefined, used: number, overrides: Partial<Parameters<typeof completed>[0]> = {}) {
  const jobId = jobIdAt(AT);
  const usage = { inputTokens: used - 1, outputTokens: 1, cachedTokens: 0 };
  const held = reserved === undefined ? {} : { reservedTokens: reserved };
  return [
    accepted({ jobId, ...(overrides.model && { model: overrides.model }) }),
    completed({ jobId, usage, ...held, ...overrides }),
  ];
}

describe('estimateErrors', () => {
  it('compares holds with the use of succeeded jobs, by model', async () => {
    await books.store.recordFacts([
      ...job(100, 50),
      ...job(100, 100),
      ...job(100, 120),
      ...job(undefined, 70),
      ...job(100, 10, { state: 'failed' }),
      ...job(40, 10, { model: 'other' }),
    ]);
    const range = { fromMs: AT, toMs: AT + 1 };
    expect(await books.store.estimateErrors(range)).toEqual([
      {
        model: 'embedder',
        jobs: 3,
        reservedTokens: 300,
        usedTokens: 270,
        overageTokens: 20,
        overageJobs: 1,
        meanOverEstimate: 1 / 3,
      },
      {
        model: 'other',
        jobs: 1,
        reservedTokens: 40,
        usedTokens: 10,
        overageTokens: 0,
        overageJobs: 0,
        meanOverEstimate: 3,
      },
    ]);
    expect(await books.store.estimateErrors({ fromMs: AT + 1, toMs: AT + 9 })).toEqual([]);
  });
});

describe('v_estimate_error', () => {
  it('says the same by tenant, day of its zone and model', async () => {
    await books.store.upsertTenant({ tenantId: 'acme', plan: 'p', timeZone: 'Asia/Kathmandu' });
    await books.store.recordFacts([...job(100, 50), ...job(100, 120)]);
    const day = new Intl.DateTimeFormat('en-CA', { timeZone: 'Asia/Kathmandu', dateStyle: 'short' }).format(AT);
    const rows = await books.query(
      `SELECT tenant_id, day::text, model, jobs::int, reserved_tokens::int, used_tokens::int, overage_tokens::int,
         overage_jobs::int, mean_over_estimate::float8
       FROM v_estimate_error`,
    );
    expect(rows).toEqual([
      {
        tenant_id: 'acme',
        day,
        model: 'embedder',
        jobs: 2,
        reserved_tokens: 200,
        used_tokens: 170,
        overage_tokens: 20,
        overage_jobs: 1,
        mean_over_estimate: 0.5,
      },
    ]);
  });
});

describe('views of limits', () => {
  it('show what is in force now for tenant, keys and models', async () => {
    await putPlans(books, {
      basic: {
        limits: { concurrentJobs: 3 },
        perApiKey: { requestsPerMinute: 60 },
        perModel: { '*': { tokensPerDay: 9 } },
      },
    });
    const overrides = {
      perModel: { embedder: { moneyPerMonth: { usd: '0.5', alertAtPercent: [80, 50], soft: true } } },
    };
    await books.store.upsertTenant({ tenantId: 'acme', plan: 'basic', timeZone: 'UTC', overrides });
    const key = { tenantId: 'acme', name: 'k', prefix: 'sk' };
    const own = await books.store.createApiKey({
      ...key,
      keyHash: Buffer.alloc(32, 1),
      limits: { requestsPerMinute: null, tokensPerDay: 7 },
    });
    const revoked = await books.store.createApiKey({ ...key, keyHash: Buffer.alloc(32, 2) });
    await books.store.revokeApiKey(revoked.apiKeyId);
    const rows = await books.query(
      `SELECT scope, subject, name, max::float8, soft, alert_at_percent AS alerts FROM v_tenant_limits ORDER BY scope DESC, subject, name`,
    );
    expect(rows).toEqual([
      { scope: 'tenant', subject: '', name: 'concurrent-jobs', max: 3, soft: false, alerts: [] },
      { scope: 'model', subject: '*', name: 'model:tokens-per-day', max: 9, soft: false, alerts: [] },
      {
        scope: 'model',
        subject: 'embedder',
        name: 'model:money-per-month',
        max: 500_000_000,
        soft: true,
        alerts: [50, 80],
      },
      { scope: 'model', subject: 'embedder', name: 'model:tokens-per-day', max: 9, soft: false, alerts: [] },
      { scope: 'apiKey', subject: own.apiKeyId, name: 'api-key:tokens-per-day', max: 7, soft: false, alerts: [] },
    ]);
  });

  it('show the use of each quota with its overage', async () => {
    await putPlans(books, {
      basic: { limits: { tokensPerDay: 100, moneyPerMonth: '1' }, perModel: { '*': { tokensPerMonth: 50 } } },
    });
    await books.store.upsertTenant({ tenantId: 'acme', plan: 'basic', timeZone: 'UTC' });
    await addUse(books, { tokens: 30, overageTokens: 5, nanoUsd: 7, overageNanoUsd: 2 });
    const rows = await books.query(
      `SELECT scope, subject, name, period, used::int, overage::int, max::float8 FROM v_quota_use ORDER BY name`,
    );
    expect(rows).toEqual([
      {
        scope: 'model',
        subject: 'embedder',
        name: 'model:tokens-per-month',
        period: 'month',
        used: 30,
        overage: 5,
        max: 50,
      },
      { scope: 'tenant', subject: '', name: 'money-per-month', period: 'month', used: 7, overage: 2, max: 1e9 },
      { scope: 'tenant', subject: '', name: 'tokens-per-day', period: 'day', used: 30, overage: 5, max: 100 },
    ]);
  });
});
