import { describe, expect, it } from '@jest/globals';
import { addUse, ageHistory, putPlans } from './lifecycle-support.js';
import { KEY_ID, useBooks } from './support.js';

const books = useBooks();
const ZONE = 'Pacific/Kiritimati'; // UTC+14: its day and month begin well before those of UTC

async function createTenant(plan: unknown, overrides?: unknown): Promise<void> {
  await putPlans(books, { basic: plan });
  await books.store.upsertTenant({ tenantId: 'acme', plan: 'basic', timeZone: ZONE, overrides });
}

/** First days of the current day and month of the zone, by the server's clock. */
async function periods(): Promise<{ day: string; month: string }> {
  const [row] = await books.query<{ day: string; month: string }>(
    `SELECT date_trunc('day', now() AT TIME ZONE $1)::date::text AS day,
            date_trunc('month', now() AT TIME ZONE $1)::date::text AS month`,
    [ZONE],
  );
  if (!row) throw new Error('no row');
  return row;
}

describe('raiseLimitAlerts', () => {
  it('raises each percentage once, when settled use has reached it', async () => {
    await createTenant({ limits: { tokensPerDay: { max: 1000, alertAtPercent: [50, 80, 100] } } });
    expect(await books.store.raiseLimitAlerts()).toEqual([]);
    await addUse(books, { tokens: 499 });
    expect(await books.store.raiseLimitAlerts()).toEqual([]);
    await addUse(books, { tokens: 301 });
    const { day } = await periods();
    const alert = { tenantId: 'acme', limit: 'tokens-per-day', subject: '', periodStart: day, used: 800n, max: 1000n };
    expect(await books.store.raiseLimitAlerts()).toEqual([
      { ...alert, percent: 50, id: expect.any(Number), raisedAtMs: expect.any(Number) },
      { ...alert, percent: 80, id: expect.any(Number), raisedAtMs: expect.any(Number) },
    ]);
    expect(await books.store.raiseLimitAlerts()).toEqual([]);
    await addUse(books, { tokens: 5000 });
    expect(await books.store.raiseLimitAlerts()).toMatchObject([{ percent: 100, used: 5800n }]);
  });

  it('looks at tenant, API keys and models, each with its own limits', async () => {
    await createTenant(
      {
        limits: { moneyPerMonth: { usd: '5.00', soft: true, alertAtPercent: [50] } },
        perApiKey: { tokensPerMonth: { max: 100, alertAtPercent: [90] } },
        perModel: { '*': { tokensPerDay: { max: 1000, alertAtPercent: [10] } }, quiet: {} },
      },
      { perModel: { embedder: { tokensPerDay: { max: 10, alertAtPercent: [100] } } } },
    );
    const { apiKeyId } = await books.store.createApiKey({
      tenantId: 'acme',
      name: 'k',
      keyHash: Buffer.alloc(32, 1),
      prefix: 'sk',
      limits: { tokensPerMonth: 1_000_000 },
    });
    await addUse(books, { model: 'embedder', tokens: 10, nanoUsd: 2_500_000_000 });
    await addUse(books, { model: 'other', tokens: 100, apiKeyId });
    await addUse(books, { model: 'quiet', tokens: 100 });
    const raised = await books.store.raiseLimitAlerts();
    const { day, month } = await periods();
    const shown = raised.map(({ limit, subject, periodStart, percent, used }) => [
      limit,
      subject,
      periodStart,
      percent,
      used,
    ]);
    expect(shown).toEqual([
      ['api-key:tokens-per-month', KEY_ID, month, 90, 110n],
      ['model:tokens-per-day', 'embedder', day, 100, 10n],
      ['model:tokens-per-day', 'other', day, 10, 100n],
      ['money-per-month', '', month, 50, 2_500_000_000n],
    ]);
  });

  it('counts only the day and the month of the zone', async () => {
    await createTenant({
      limits: { tokensPerDay: { max: 10, alertAtPercent: [100] }, tokensPerMonth: { max: 10, alertAtPercent: [100] } },
    });
    const { day, month } = await periods();
    const [row] = await books.query<{ day_ms: number; month_ms: number }>(
      `SELECT extract(epoch FROM $1::timestamp AT TIME ZONE $3)::float8 * 1000 AS day_ms,
              extract(epoch FROM $2::timestamp AT TIME ZONE $3)::float8 * 1000 AS month_ms`,
      [day, month, ZONE],
    );
    const { day_ms: dayMs, month_ms: monthMs } = row ?? { day_ms: NaN, month_ms: NaN };
    await addUse(books, { tokens: 10, atMs: monthMs - 1 });
    await addUse(books, { tokens: 9, atMs: dayMs });
    expect(await books.store.raiseLimitAlerts()).toEqual([]);
    await addUse(books, { tokens: 1, atMs: dayMs });
    expect((await books.store.raiseLimitAlerts()).map(({ limit }) => limit)).toEqual([
      'tokens-per-day',
      'tokens-per-month',
    ]);
  });

  it('raises alerts of the last day and month for jobs that ended after it, with the limits of its end', async () => {
    await createTenant({
      limits: { tokensPerDay: { max: 100, alertAtPercent: [50] }, tokensPerMonth: { max: 200, alertAtPercent: [50] } },
    });
    await ageHistory(books);
    const { day, month } = await periods();
    // n.b. a month ago is not two months ago: the views look back to the beginning of the last month and no further.
    const [last] = await books.query<{
      day: string;
      month: string;
      day_ms: number;
      month_ms: number;
      older_ms: number;
    }>(
      `SELECT ($1::date - 1)::text AS day, ($2::date - interval '1 month')::date::text AS month,
              extract(epoch FROM ($1::date - 1)::timestamp AT TIME ZONE $3)::float8 * 1000 AS day_ms,
              extract(epoch FROM ($2::date - interval '1 month') AT TIME ZONE $3)::float8 * 1000 AS month_ms,
              extract(epoch FROM ($2::date - interval '1 month') AT TIME ZONE $3)::float8 * 1000 - 1 AS older_ms
       FROM (SELECT $1::date AS a, $2::date AS b) AS dates`,
      [day, month, ZONE],
    );
    if (!last) throw new Error('no row');
    // What is in force now is above what was used then, and below it.
    await putPlans(books, {
      basic: {
        limits: { tokensPerDay: { max: 1, alertAtPercent: [1] }, tokensPerMonth: { max: 1, alertAtPercent: [1] } },
      },
    });
    await addUse(books, { tokens: 5000, atMs: last.older_ms });
    await addUse(books, { tokens: 49, atMs: last.day_ms });
    await addUse(books, { tokens: 40, atMs: last.month_ms });
    const raisedOf = async (period: string) =>
      (await books.store.raiseLimitAlerts()).filter(({ periodStart }) => periodStart === period);
    expect(await raisedOf(last.day)).toEqual([]);
    await addUse(books, { tokens: 1, atMs: last.day_ms });
    expect(await raisedOf(last.day)).toMatchObject([{ limit: 'tokens-per-day', percent: 50, max: 100n }]);
    await addUse(books, { tokens: 60, atMs: last.month_ms });
    expect(await raisedOf(last.month)).toMatchObject([{ limit: 'tokens-per-month', percent: 50, max: 200n }]);
  });

  it('gives an alert to one of several callers at once', async () => {
    await createTenant({ limits: { tokensPerDay: { max: 10, alertAtPercent: [10, 20, 30] } } });
    await addUse(books, { tokens: 10 });
    const others = await Promise.all([books.another(), books.another()]);
    const raised = await Promise.all([books.store, ...others].map((store) => store.raiseLimitAlerts()));
    expect(
      raised
        .flat()
        .map(({ percent }) => percent)
        .sort(),
    ).toEqual([10, 20, 30]);
  });

  it('is not disturbed by overrides that are no limits', async () => {
    await createTenant({ limits: { tokensPerDay: { max: 10, alertAtPercent: [100] } } });
    await books.query(`UPDATE tenants SET overrides = '{"limits": {"moneyPerMonth": "much"}, "perModel": {"x": 5}}'`);
    await addUse(books, { tokens: 10 });
    expect(await books.store.raiseLimitAlerts()).toHaveLength(1);
  });
});

describe('alerts', () => {
  it('are unsent until they are marked, oldest first', async () => {
    await createTenant({ limits: { tokensPerDay: { max: 10, alertAtPercent: [10, 20] } } });
    await addUse(books, { tokens: 10 });
    const raised = await books.store.raiseLimitAlerts();
    expect(await books.store.unsentAlerts(10)).toEqual(raised);
    expect(await books.store.unsentAlerts(1)).toEqual(raised.slice(0, 1));
    const [first] = raised;
    expect(await books.store.markAlertSent(first?.id ?? 0)).toBe(true);
    expect(await books.store.markAlertSent(first?.id ?? 0)).toBe(false);
    expect(await books.store.unsentAlerts(10)).toEqual(raised.slice(1));
  });
});
