import { describe, expect, it } from '@jest/globals';
import { type Plan, planSchema } from '@sluice/contracts';
import { syncPlans } from '../src/index.js';
import { logger, useBooks } from './support.js';

const books = useBooks();

const planOf = (tokensPerMinute: number): Plan =>
  planSchema.parse({ limits: { tokensPerMinute, moneyPerMonth: { usd: '5.00', soft: true } } });
const sync = (plans: Readonly<Record<string, Plan>>): Promise<void> => syncPlans({ url: books.url, plans, logger });

interface VersionRow {
  readonly plan: string;
  readonly definition: unknown;
  readonly is_open: boolean;
}

const stored = (): Promise<VersionRow[]> =>
  books.query('SELECT plan, definition, upper_inf(valid) AS is_open FROM plan_versions ORDER BY plan, valid');

describe('plans', () => {
  it('are kept as they were understood, each version until the next', async () => {
    await sync({ free: planOf(10), team: planOf(100) });
    await sync({ free: planOf(20), team: planOf(100) });
    expect(await stored()).toEqual([
      { plan: 'free', definition: planOf(10), is_open: false },
      { plan: 'free', definition: planOf(20), is_open: true },
      { plan: 'team', definition: planOf(100), is_open: true },
    ]);
    expect(planOf(10).limits.moneyPerMonth).toEqual({ max: 5_000_000_000, alertAtPercent: [], soft: true });
    const gaps = `SELECT FROM plan_versions a JOIN plan_versions b USING (plan)
      WHERE upper(a.valid) < lower(b.valid) OR a.valid < b.valid AND a.valid && b.valid`;
    expect(await books.query(gaps)).toEqual([]);
  });

  it('end when they are not configured any more, and begin again when they are', async () => {
    await sync({ free: planOf(10), team: planOf(100) });
    await sync({ team: planOf(100) });
    expect((await stored()).map(({ plan, is_open }) => [plan, is_open])).toEqual([
      ['free', false],
      ['team', true],
    ]);
    await sync({ free: planOf(10), team: planOf(100) });
    expect((await stored()).map(({ plan, is_open }) => [plan, is_open])).toEqual([
      ['free', false],
      ['free', true],
      ['team', true],
    ]);
  });

  it('get no new version when nothing changed, however their members are ordered', async () => {
    const { limits, ...rest } = planOf(10);
    await sync({ free: { limits, ...rest } });
    await sync({ free: { ...rest, limits } });
    expect(await stored()).toHaveLength(1);
  });

  it('are changed by several programs in turns', async () => {
    await Promise.all(Array.from({ length: 8 }, (_, index) => sync({ free: planOf(index + 1), team: planOf(5) })));
    const versions = await stored();
    expect(versions.filter(({ plan }) => plan === 'free')).toHaveLength(8);
    expect(versions.filter(({ is_open }) => is_open)).toHaveLength(2);
    expect(versions.filter(({ plan }) => plan === 'team')).toHaveLength(1);
  });

  it('cannot be changed or removed by hand', async () => {
    await sync({ free: planOf(10) });
    for (const change of [
      `UPDATE plan_versions SET definition = '{}'`,
      `UPDATE plan_versions SET valid = tstzrange('2020-01-01', NULL)`,
      'DELETE FROM plan_versions',
    ]) {
      await expect(books.query(change)).rejects.toMatchObject({ code: '23001' });
    }
  });

  it('are not stored when nobody answers', async () => {
    await expect(syncPlans({ url: 'postgres://nobody@127.0.0.1:1/none', plans: {}, logger })).rejects.toMatchObject({
      code: 'store_unavailable',
    });
  });
});
