import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { fitCostCurve } from './cost-fit.js';
import { createCostModel, type CostCurve } from './cost-model.js';

const curve: CostCurve = { perRun: 0.6, perText: 0.01, perToken: 0.045, perPair: 6e-6, crowding: 2.3e-6 };
const TERMS = ['perRun', 'perText', 'perToken', 'perPair', 'crowding'] as const;
const grid = [1, 2, 4, 8, 16].flatMap((texts) => [4, 16, 64, 128].map((length) => ({ texts, length })));

describe('a cost model', () => {
  it('says what a run takes by the curve', () => {
    const cost = createCostModel({ curve, tripMs: 0.2 });
    expect(cost.runMs(1, 10)).toBeCloseTo(0.6 + 0.01 + 0.45 + 0.0006 + 0.00023, 6);
    expect(cost.runMs(3, 10)).toBeCloseTo(0.6 + 0.03 + 1.35 + 0.0018 + 0.00207, 6);
  });

  it('knows at how many tokens a token is cheapest', () => {
    const cost = createCostModel({ curve, tripMs: 0.2 });
    const perToken = (texts: number): number => (cost.tripMs + cost.runMs(texts, 10)) / texts;
    const texts = Math.round(cost.bestTokens / 10);
    expect(perToken(texts)).toBeLessThan(perToken(texts - 5));
    expect(perToken(texts)).toBeLessThan(perToken(texts + 5));
  });

  it('follows a machine that becomes slower, and one that becomes faster again', () => {
    const cost = createCostModel({ curve, tripMs: 0.2 });
    const realMs = cost.runMs(4, 20);
    for (let run = 0; run < 200; run++) cost.observe(cost.runMs(4, 20), realMs * 3);
    expect(cost.runMs(4, 20)).toBeCloseTo(realMs * 3, 3);
    for (let run = 0; run < 200; run++) cost.observe(cost.runMs(4, 20), realMs);
    expect(cost.correction).toBeCloseTo(1, 3);
  });

  it('is little impressed by a single run that took very long', () => {
    const cost = createCostModel({ curve, tripMs: 0.2 });
    cost.observe(1, 10_000);
    expect(cost.correction).toBeLessThan(1.3);
  });

  it('remembers for an hour how long a run took that had been stopped before, whatever runs meanwhile', () => {
    let nowMs = 1_000;
    const cost = createCostModel({ curve, tripMs: 0.2 }, () => nowMs);
    const passes = (minutes: number): void => {
      nowMs += minutes * 60_000;
      for (let run = 0; run < 1_000; run++) cost.observe(10, 10);
    };
    cost.observe(10, 3_000);
    passes(0);
    expect(cost.slowestMs).toBeLessThan(11);
    cost.observe(10, 3_000, true);
    passes(30);
    expect(cost.provenMs).toBeCloseTo(1_500, 6);
    // n.b. the next one is not stopped any more.
    cost.observe(10, 2_900);
    passes(30);
    expect(cost.provenMs).toBeCloseTo(1_450, 6);
    passes(600);
    expect(cost.provenMs).toBeLessThan(11);
    expect(cost.slowestMs).toBeLessThan(11);
  });

  it('knows of a model of which every run was stopped as too slow, until one has ended', () => {
    const cost = createCostModel({ curve, tripMs: 0.2 });
    expect(cost.onlyOverran).toBe(false);
    cost.overran();
    expect(cost.onlyOverran).toBe(true);
    cost.observe(1, 2);
    cost.overran();
    expect(cost.onlyOverran).toBe(false);
  });

  it('learns nothing from what is no time', () => {
    const cost = createCostModel({ curve, tripMs: 0.2 });
    for (const ms of [NaN, -1, Infinity * 0]) cost.observe(1, ms);
    expect(cost.slowestMs).toBeUndefined();
    cost.observe(0, 1);
    expect(cost.correction).toBe(1);
  });

  it('forgets what it learned when it was measured anew', () => {
    const cost = createCostModel({ curve, tripMs: 0.2 });
    cost.observe(1, 2);
    cost.adopt({ curve: { ...curve, perRun: 5 }, tripMs: 1 });
    expect([cost.correction, cost.tripMs]).toEqual([1, 1]);
    expect(cost.runMs(1, 1)).toBeGreaterThan(5);
  });
});

describe('a fitted curve', () => {
  it('is the one that the points were made of', () => {
    const exact = createCostModel({ curve, tripMs: 0 });
    const fitted = fitCostCurve(grid.map((run) => ({ ...run, ms: exact.runMs(run.texts, run.length) })));
    for (const name of TERMS) expect(fitted[name]).toBeCloseTo(curve[name], 8);
  });

  it('is near every point when they are off by a tenth, and none of its terms is below 0', () => {
    const factors = fc.array(fc.double({ min: 0.9, max: 1.1, noNaN: true }), { minLength: 20, maxLength: 20 });
    fc.assert(
      fc.property(factors, (noise) => {
        const exact = createCostModel({ curve, tripMs: 0 });
        const points = grid.map((run, at) => ({ ...run, ms: exact.runMs(run.texts, run.length) * (noise[at] ?? 1) }));
        const fitted = fitCostCurve(points);
        for (const value of Object.values(fitted)) expect(value).toBeGreaterThanOrEqual(0);
        const model = createCostModel({ curve: fitted, tripMs: 0 });
        for (const { texts, length } of grid) {
          const ratio = model.runMs(texts, length) / exact.runMs(texts, length);
          expect(ratio).toBeGreaterThan(0.8);
          expect(ratio).toBeLessThan(1.25);
        }
      }),
      { numRuns: 30 },
    );
  });

  it('says of a term that was not measured that it is 0', () => {
    const points = [10, 20, 40].map((length) => ({ texts: 1, length, ms: 0.5 + length * 0.1 }));
    const { perText, perRun, perToken, crowding } = fitCostCurve(points);
    expect(perText + perRun).toBeCloseTo(0.5, 6);
    expect([perToken, crowding]).toEqual([expect.closeTo(0.1, 6), expect.closeTo(0, 9)]);
  });

  it('refuses points that are not runs', () => {
    expect(() => fitCostCurve([])).toThrow(RangeError);
    expect(() => fitCostCurve([{ texts: 1, length: 10, ms: 0 }])).toThrow(RangeError);
    expect(() => fitCostCurve([{ texts: 0, length: 10, ms: 1 }])).toThrow(RangeError);
  });
});
