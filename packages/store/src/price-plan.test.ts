import { describe, expect, it } from '@jest/globals';
import type { Price } from '@sluice/contracts';
import { planPrices, type PriceVersion } from './price-plan.js';

const day = (n: number): number => Date.UTC(2026, 0, n);
const now = day(10);

function price(usdPerMillion: string, fromDay: number, model = 'm'): Price {
  return { model, meter: 'input', usdPerMillion, from: new Date(day(fromDay)).toISOString() };
}

function version(
  priceId: bigint,
  nanoUsdPerMillion: bigint,
  span: readonly [number, number | undefined],
): PriceVersion {
  const [from, to] = span;
  return {
    priceId,
    model: 'm',
    meter: 'input',
    nanoUsdPerMillion,
    fromMs: day(from),
    toMs: to === undefined ? undefined : day(to),
  };
}

const TWO_CENTS = 20_000_000n;

describe('planPrices', () => {
  it('adds first prices, also from the past, and ends each where the next begins', () => {
    const plan = planPrices([], [price('0.03', 20), price('0.02', 1), price('0.02', 1, 'other')], now);
    expect(plan.problems).toEqual([]);
    expect(plan.added.map(({ model, fromMs, toMs }) => [model, fromMs, toMs])).toEqual([
      ['m', day(20), undefined],
      ['m', day(1), day(20)],
      ['other', day(1), undefined],
    ]);
  });

  it('does nothing when nothing changed', () => {
    const plan = planPrices([version(1n, TWO_CENTS, [1, undefined])], [price('0.02', 1)], now);
    expect(plan).toEqual({ withdrawn: [], ended: [], added: [], problems: [] });
  });

  it('ends the price in force when a newer one is announced', () => {
    const plan = planPrices([version(1n, TWO_CENTS, [1, undefined])], [price('0.02', 1), price('0.05', 12)], now);
    expect(plan.ended).toEqual([{ priceId: 1n, toMs: day(12) }]);
    expect(plan.added).toHaveLength(1);
  });

  it('replaces and withdraws prices that are not in force yet', () => {
    const stored = [version(1n, TWO_CENTS, [1, 12]), version(2n, 50_000_000n, [12, undefined])];
    const changed = planPrices(stored, [price('0.02', 1), price('0.06', 12)], now);
    expect(changed.withdrawn).toEqual([2n]);
    expect(changed.added).toMatchObject([{ nanoUsdPerMillion: 60_000_000n, fromMs: day(12) }]);
    const removed = planPrices(stored, [price('0.02', 1)], now);
    expect(removed).toMatchObject({ withdrawn: [2n], ended: [{ priceId: 1n, toMs: undefined }], added: [] });
  });

  it('keeps a price that disappeared from the configuration in force', () => {
    expect(planPrices([version(1n, TWO_CENTS, [1, undefined])], [], now)).toEqual({
      withdrawn: [],
      ended: [],
      added: [],
      problems: [],
    });
  });

  it('refuses another price for a time that has begun', () => {
    const stored = [version(1n, TWO_CENTS, [1, undefined])];
    expect(planPrices(stored, [price('0.03', 1)], now).problems).toHaveLength(1);
    expect(planPrices(stored, [price('0.02', 1), price('0.03', 5)], now).problems).toHaveLength(1);
    expect(planPrices(stored, [price('0.02', 1), price('0.03', 10)], now).problems).toHaveLength(1);
  });

  it('lets a price cover a time in which none was in force', () => {
    const plan = planPrices([version(1n, TWO_CENTS, [5, undefined])], [price('0.01', 2), price('0.02', 5)], now);
    expect(plan.problems).toEqual([]);
    expect(plan.added).toMatchObject([{ fromMs: day(2), toMs: day(5) }]);
  });

  it('refuses two prices for one moment', () => {
    expect(planPrices([], [price('0.01', 12), price('0.02', 12)], now).problems).toEqual([
      expect.stringMatching(/^m, input, from 2026-01-12.*twice/),
    ]);
  });
});
