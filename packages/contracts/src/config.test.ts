import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { z } from 'zod';
import {
  limitChangesSchema,
  modelLimits,
  overridesSchema,
  plansFileFor,
  plansFileSchema,
  planSchema,
  planWith,
} from './config.js';
import { limitName, rulesOf } from './limits.js';
import { modelsFileSchema } from './models-file.js';
import { nanoUsdPerMillion, pricesFileFor, pricesFileSchema } from './prices-file.js';
import { inOwnWords } from './words.js';

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
    (schema.safeParse(file, { error: inOwnWords }).error?.issues ?? []).map(
      ({ path, message }) => `${path.join('.')} ${message}`,
    );
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

  it('says all that is wrong at once, also about models that do not exist', () => {
    const file = {
      pools: { text: {} },
      models: { m: { pool: 'gone', version: 1 }, n: { pool: 'text', version: '1' } },
    };
    expect(problems(modelsFileSchema, file)).toEqual([
      'models.m.version must be a whole number in quotes, or latest',
      'models.m.pool no pool "gone" exists',
    ]);
    const plans = { plans: { p: { limits: { tokensPerDay: '5' }, perModel: { gone: {}, BAD: {} } }, q: 5, BAD: {} } };
    expect(problems(plansFileFor(models), plans).sort()).toEqual([
      'plans.BAD must be a name of lower-case letters, digits, ".", "_" or "-"',
      'plans.p.limits.tokensPerDay must be a whole number, or { max, alertAtPercent?, soft? }',
      'plans.p.perModel.BAD must be "*" or a name of lower-case letters, digits, ".", "_" or "-"',
      'plans.p.perModel.gone no model "gone" exists',
      'plans.q must be an object',
    ]);
    const prices = [{ model: 'gone', meter: 'input', usdPerMillion: 1, from: 'now' }, 7];
    expect(problems(pricesFileFor(models), { prices })).toEqual([
      'prices.0.usdPerMillion must be a decimal string such as "0.02", with at most 6 digits before and 9 after the point',
      'prices.0.from must be a date and time such as 2026-11-01T00:00:00Z',
      'prices.1 must be an object',
      'prices.0.model no model "gone" exists',
    ]);
  });

  const modelWith = (fields: object) => ({ pools: { text: {} }, models: { m: { pool: 'text', ...fields } } });

  it('takes a pinned version or the latest one, a canary and a shadow', () => {
    const canary = { version: 'latest', percent: 0.5, stickyBy: 'apiKey' };
    const shadow = { version: '4', percent: 100, stickyBy: 'job', tolerance: 0 };
    expect(modelsFileSchema.parse(modelWith({ version: '3', canary, shadow })).models['m']).toEqual({
      ...{ pool: 'text', version: '3', canary, shadow },
    });
    const { models: byDefault } = modelsFileSchema.parse(
      modelWith({ version: 'latest', canary: { version: '3', percent: 5 } }),
    );
    expect(byDefault['m']?.canary?.stickyBy).toBe('tenant');
  });

  it('says all that is wrong with the versions of a model at once', () => {
    const canary = { version: '3', percent: 101, stickyBy: 'user' };
    const shadow = { version: '', percent: -1, stickyBy: 'day' };
    expect(problems(modelsFileSchema, modelWith({ version: '3', canary, shadow, newest: true }))).toEqual([
      'models.m.canary.percent must be at most 100',
      'models.m.canary.stickyBy must be one of tenant, apiKey, job',
      'models.m.shadow.version must be a whole number in quotes, or latest',
      'models.m.shadow.percent must be at least 0',
      'models.m.shadow.stickyBy must be one of tenant, apiKey, job',
      'models.m.shadow.tolerance is required',
      'models.m has what is not known: "newest"',
      'models.m.canary.version must be another version than the model has',
    ]);
  });

  it.each(['newest', '1.0', '-1', '1234567890', 'Latest', 'latest '])('refuses the version %p', (version) => {
    expect(modelsFileSchema.safeParse(modelWith({ version })).success).toBe(false);
  });

  it.each([null, [], 'x', {}, { plans: null }, { plans: [] }])('refuses a file that holds %j', (file) => {
    for (const schema of [modelsFileSchema, plansFileFor(models), pricesFileFor(models)]) {
      expect(problems(schema, file)).not.toEqual([]);
    }
  });

  it('refuses what is called __proto__ instead of dropping it', () => {
    const named = (value: object): unknown => JSON.parse(`{"__proto__":${JSON.stringify(value)}}`);
    const reserved = (path: string): string => `${path}.__proto__ is a reserved name`;
    expect(problems(plansFileFor(models), { plans: named({ limits: {} }) })).toEqual([reserved('plans')]);
    const perModel = named({ tokensPerDay: 5 });
    expect(problems(overridesSchema, { perModel })).toEqual([reserved('perModel')]);
    expect(problems(plansFileFor(models), { plans: { p: { limits: {}, perModel } } })).toEqual([
      reserved('plans.p.perModel'),
    ]);
    const file = { pools: named({}), models: named({ pool: 'p', version: '1' }) };
    expect(problems(modelsFileSchema, file)).toEqual([reserved('pools'), reserved('models')]);
  });

  const decimal = 'must be a decimal string such as "5.00", with at most 9 places';
  it.each([
    [5, ' must be a decimal string such as "5.00", or { usd, alertAtPercent?, soft? }'],
    [[5], ' must be a decimal string such as "5.00", or { usd, alertAtPercent?, soft? }'],
    ['-1', ` ${decimal}`],
    ['1e3', ` ${decimal}`],
    ['0', ' must be above 0'],
    [{ usd: 5 }, `.usd ${decimal}`],
    [{ soft: true }, '.usd is required'],
    [{ usd: '5', alertAtPercent: 80 }, '.alertAtPercent must be a list of percentages such as [50, 80]'],
    [{ usd: '5', alertAtPercent: [0] }, '.alertAtPercent.0 must be at least 1'],
    [{ usd: '5', soft: 'yes' }, '.soft must be true or false'],
    [{ usd: '5', hard: true }, ' has what is not known: "hard"'],
  ])('says what is wrong with the budget %j, in plans as in overrides', (moneyPerMonth, message) => {
    const expected = [`moneyPerMonth${message}`];
    expect(problems(planSchema.shape.limits, { moneyPerMonth })).toEqual(expected);
    expect(problems(limitChangesSchema, { moneyPerMonth })).toEqual(expected);
  });

  it.each([
    [{ tokensPerDay: { alertAtPercent: [80] } }, 'limits.tokensPerDay.max is required'],
    [{ tokensPerDay: 1.5 }, 'limits.tokensPerDay must be a whole number'],
    [{ tokensPerDay: 0 }, 'limits.tokensPerDay must be at least 1'],
    [{ concurrentJobs: '5' }, 'limits.concurrentJobs must be a number'],
  ])('says what is wrong with the limits %j', (limits, expected) => {
    expect(problems(planSchema, { limits })).toEqual([expected]);
  });

  it.each(['lerned', 5, null])('says how an estimate may be written instead of %j', (estimate) => {
    const message = 'estimate must be exact, learned or { quantile, floorTokens }';
    expect(problems(planSchema, { limits: {}, estimate })).toEqual([message]);
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
