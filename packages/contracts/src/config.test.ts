import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { modelsFileSchema, nanoUsdPerMillion, plansFileSchema, pricesFileSchema } from './config.js';

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

  it('refuses limits that Redis could not count exactly', () => {
    const plan = (tokensPerMinute: number) => ({ plans: { p: { limits: { tokensPerMinute, tokensPerMonth: 1 } } } });
    expect(plansFileSchema.safeParse(plan(100_000_000_000)).success).toBe(true);
    expect(plansFileSchema.safeParse(plan(100_000_000_001)).success).toBe(false);
    expect(plansFileSchema.safeParse(plan(0)).success).toBe(false);
  });
});
