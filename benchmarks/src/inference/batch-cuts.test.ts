import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { arrivalOrder, fixedCount, oneByOne, sortedByLength, usefulShare, type BatchCut } from './batch-cuts.js';

const lengthLists = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 60 });
const budgets = fc.integer({ min: 1, max: 1_000 });

const paddedTokens = (batch: readonly number[], lengths: readonly number[]): number =>
  batch.length * Math.max(...batch.map((index) => lengths[index] ?? 0));

describe.each<[string, (budget: number) => BatchCut]>([
  ['one by one', () => oneByOne],
  ['a fixed count', (budget) => fixedCount(1 + (budget % 20))],
  ['arrival order within a budget', arrivalOrder],
  ['sorted within a budget', sortedByLength],
])('%s', (_, cutWith) => {
  it('runs every text once', () => {
    fc.assert(
      fc.property(lengthLists, budgets, (lengths, budget) => {
        const batches = cutWith(budget)(lengths);
        expect(batches.flat().sort((a, b) => a - b)).toEqual([...lengths.keys()]);
        expect(batches.every((batch) => batch.length > 0)).toBe(true);
      }),
    );
  });
});

describe.each([
  ['arrival order', arrivalOrder],
  ['sorted', sortedByLength],
])('%s', (_, cutWith) => {
  it('keeps longest × count within the budget, but for a text that is longer by itself', () => {
    fc.assert(
      fc.property(lengthLists, budgets, (lengths, budget) => {
        for (const batch of cutWith(budget)(lengths)) {
          if (batch.length > 1) expect(paddedTokens(batch, lengths)).toBeLessThanOrEqual(budget);
        }
      }),
    );
  });

  it('ends a batch only where the next text would exceed the budget', () => {
    fc.assert(
      fc.property(lengthLists, budgets, (lengths, budget) => {
        const batches = cutWith(budget)(lengths);
        for (const [index, batch] of batches.slice(0, -1).entries()) {
          const [next = 0] = batches[index + 1] ?? [];
          expect(paddedTokens([...batch, next], lengths)).toBeGreaterThan(budget);
        }
      }),
    );
  });
});

describe('the cuts', () => {
  it('keep the order of arrival, or run the longest first', () => {
    const lengths = [3, 9, 4, 8];
    expect(arrivalOrder(18)(lengths)).toEqual([
      [0, 1],
      [2, 3],
    ]);
    expect(sortedByLength(18)(lengths)).toEqual([
      [1, 3],
      [2, 0],
    ]);
    expect(fixedCount(3)(lengths)).toEqual([[0, 1, 2], [3]]);
  });
});

describe('usefulShare', () => {
  it('is what is not padding', () => {
    expect(usefulShare([[0, 1], [2]], [1, 3, 5])).toBeCloseTo(9 / 11);
    expect(usefulShare([[0], [1]], [7, 2])).toBe(1);
  });
});
