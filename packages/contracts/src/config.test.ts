import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { z } from 'zod';
import {
  modelLimits,
  modelsFileSchema,
  nanoUsdPerMillion,
  overridesSchema,
  plansFileFor,
  plansFileSchema,
  planSchema,
  planWith,
  pricesFileFor,
  pricesFileSchema,
} from './config.js';
import { limitName, rulesOf } from './limits.js';

describe('nanoUsdPerMillion', () => {
  it.each([
    ['0', 0n],
    ['0.02', 20_000_000n],
    ['1', 1_000_000_000n],
    ['0.000000001', 1n],
    ['999999.999999999', 999_999_999_999_999n],
  ])('reads %p exactly', (text, nano) => {
    expect(nanoUsdPerMillion(text)).toBe(nano);
  });

  it('is exact for every price the schema allows', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 999_999_999_999_999n }), (nano) => {
        const digits = nano.toString().padStart(10, '0');
        expect(nanoUsdPerMillion(`${digits.slice(0, -9)}.${digits.slice(-9)}`)).toBe(nano);
      }),
    );
  });
});

describe('configuration files', () => {
  it('refuses a model whose pool does not exist, naming it', () => {
    const file = { pools: { text: {} }, models: { m: { pool: 'vision', version: '1' } } };
    const issues = modelsFileSchema.safeParse(file).error?.issues ?? [];
    expect(issues.map(({ path, message }) => `${path.join('.')} ${message}`)).toEqual([
      'models.m.pool no pool "vision" exists',
    ]);
  });

  it.each(['-1', '0.0000000001', '1e3', 'free', ''])('refuses the price %p', (usdPerMillion) => {
    const price = { model: 'm', meter: 'input', usdPerMillion, from: '2026-01-01T00:00:00Z' };
    expect(pricesFileSchema.safeParse({ prices: [price] }).success).toBe(false);
  });

  const plan = (limits: object) => ({ plans: { p: { limits } } });
  const problems = (schema: z.ZodType, file: unknown): string[] =>
    (schema.safeParse(file).error?.issues ?? []).map(({ path, message }) => `${path.join('.')} ${message}`);
  const models = modelsFileSchema.parse({ pools: { text: {} }, models: { m: { pool: 'text', version: '1' } } });

  it('refuses limits that Redis could not count exactly', () => {
    expect(plansFileSchema.safeParse(plan({ tokensPerMinute: 100_000_000_000 })).success).toBe(true);
    expect(plansFileSchema.safeParse(plan({ tokensPerMinute: 100_000_000_001 })).success).toBe(false);
    expect(plansFileSchema.safeParse(plan({ tokensPerMinute: 0 })).success).toBe(false);
    expect(plansFileSchema.safeParse(plan({ moneyPerMonth: '9000000' })).success).toBe(true);
    expect(plansFileSchema.safeParse(plan({ moneyPerMonth: '9000000.01' })).success).toBe(false);
  });

  it.each([
    [{ tokensPerWeek: 1 }],
    [{ moneyPerMonth: 5 }],
    [{ moneyPerMonth: '0' }],
    [{ moneyPerMonth: { usd: '5', alertAtPercent: [50, 50] } }],
    [{ tokensPerDay: { max: 5, alertAtPercent: [0] } }],
    [{ concurrentJobs: 1.5 }],
  ])('refuses the limits %j', (limits) => {
    expect(plansFileSchema.safeParse(plan(limits)).success).toBe(false);
  });

  it('refuses a limit and a price on a model that does not exist', () => {
    const plans = { plans: { p: { limits: {}, perModel: { '*': {}, m: {}, gone: { tokensPerDay: 5 } } } } };
    expect(problems(plansFileFor(models), plans)).toEqual(['plans.p.perModel.gone no model "gone" exists']);
    const price = { model: 'gone', meter: 'input', usdPerMillion: '1', from: '2026-01-01T00:00:00Z' };
    expect(problems(pricesFileFor(models), { prices: [price] })).toEqual(['prices.0.model no model "gone" exists']);
  });

  it('refuses two prices that would be in force at once', () => {
    const price = { model: 'm', meter: 'input', usdPerMillion: '1', from: '2026-01-01T00:00:00Z' };
    const twin = { ...price, usdPerMillion: '2', from: '2026-01-01T00:00:00.000Z' };
    expect(problems(pricesFileSchema, { prices: [price, { ...price, meter: 'output' }, twin] })).toEqual([
      `prices.2 overlaps price 1 of the list: both are for input of m from ${twin.from}`,
    ]);
  });
});

describe('limits', () => {
  const plan = planSchema.parse({
    limits: { tokensPerMinute: 100, moneyPerMonth: { usd: '0.5', alertAtPercent: [100, 80] } },
    perModel: { '*': { tokensPerDay: 7 } },
  });

  it('come in one form, in the order of the table, money in nano-USD', () => {
    expect(rulesOf(plan.limits)).toEqual([
      { key: 'tokensPerMinute', max: 100, soft: false, alertAtPercent: [] },
      { key: 'moneyPerMonth', max: 500_000_000, soft: false, alertAtPercent: [80, 100] },
    ]);
    expect(limitName('model', 'tokensPerDay')).toBe('model:tokens-per-day');
  });

  it('are replaced and removed by what a tenant has otherwise', () => {
    const overrides = overridesSchema.parse({
      limits: { tokensPerMinute: null, moneyPerMonth: '2', concurrentJobs: 3 },
      perModel: { m: { concurrentJobs: 1 } },
      estimate: 'learned',
    });
    const changed = planWith(plan, overrides);
    expect(changed.limits).toEqual({ moneyPerMonth: 2_000_000_000, concurrentJobs: 3 });
    expect(modelLimits(changed, 'm')).toEqual({ tokensPerDay: 7, concurrentJobs: 1 });
    expect(modelLimits(changed, 'other')).toEqual({ tokensPerDay: 7 });
    expect(modelLimits(plan, 'constructor')).toEqual({ tokensPerDay: 7 });
    expect(changed.estimate).toEqual({ quantile: 0.95, floorTokens: 16 });
    expect(planWith(plan, {})).toEqual(plan);
  });
});
