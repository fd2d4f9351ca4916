import { describe, expect, it } from '@jest/globals';
import { createCostModel, UNMEASURED, type CostModel } from './cost-model.js';
import type { QueuedText } from './running-job.js';
import { createTimeLimits } from './time-limits.js';

const timeoutMs = 30_000;

function textOf(cost: CostModel, overran = false): QueuedText {
  const limits = { maxTokens: 100, maxPadding: 0, maxDelayMs: 0, targetLatencyMs: 100 };
  return { batching: { limits, cost }, alone: overran, overran } as unknown as QueuedText;
}

function knownCost(): CostModel {
  const cost = createCostModel(UNMEASURED);
  cost.observe(10, 10);
  return cost;
}

describe('limits of time', () => {
  it.each([
    ['two seconds', 99, 10, 2_000],
    ['20 × what was predicted', 101, 10, 2_020],
    ['4 × the slowest run lately', 10, 501, 2_004],
    ['the limit of any run', 1_501, 10, timeoutMs],
  ])('let a run take %s', (_what, predictedMs, slowestMs, limitMs) => {
    const cost = knownCost();
    cost.observe(10, slowestMs);
    expect(createTimeLimits({ timeoutMs, processes: () => 2 }).limitMs(textOf(cost), predictedMs)).toBe(limitMs);
  });

  it('are never longer than that of any run, and are that one for a new model and a text that overran', () => {
    const limits = createTimeLimits({ timeoutMs: 700, processes: () => 2 });
    const cost = knownCost();
    expect(limits.limitMs(textOf(cost), 10)).toBe(700);
    const others = createTimeLimits({ timeoutMs, processes: () => 2 });
    expect(others.limitMs(textOf(createCostModel(UNMEASURED)), 10)).toBe(timeoutMs);
    expect(others.limitMs(textOf(cost, true), 10)).toBe(timeoutMs);
  });

  it('are known of a model that was measured, or of which a version before was', () => {
    const cost = createCostModel(UNMEASURED);
    cost.adopt({ ...UNMEASURED, slowestMs: 600 });
    const next = createCostModel(UNMEASURED);
    next.adopt(cost.current);
    const limits = createTimeLimits({ timeoutMs, processes: () => 2 });
    expect([cost, next].map((known) => limits.limitMs(textOf(known), 10))).toEqual([2_400, 2_400]);
  });

  it('forget a slow run in time', () => {
    const cost = knownCost();
    cost.observe(10, 20_000);
    const limits = createTimeLimits({ timeoutMs, processes: () => 2 });
    expect(limits.limitMs(textOf(cost), 10)).toBe(timeoutMs);
    for (let run = 0; run < 500; run += 1) cost.observe(10, 10);
    expect(limits.limitMs(textOf(cost), 10)).toBe(2_000);
  });

  it.each([
    [1_000, 4_000],
    [3_000, timeoutMs / 4],
    [25_000, timeoutMs / 4],
  ])('remember a rare run of %d ms that had been stopped by at most a quarter of the whole: %d ms', (ms, limitMs) => {
    const cost = createCostModel(UNMEASURED, () => 0);
    cost.observe(10, ms, true);
    for (let run = 0; run < 1_000; run += 1) cost.observe(10, 10);
    expect(createTimeLimits({ timeoutMs, processes: () => 2 }).limitMs(textOf(cost), 10)).toBe(limitMs);
  });

  it('count a model of which every run was stopped among the texts that overran', () => {
    const limits = createTimeLimits({ timeoutMs, processes: () => 2 });
    const cost = createCostModel(UNMEASURED);
    const end = limits.begin(textOf(knownCost(), true));
    expect(limits.mayBegin(textOf(cost))).toBe(true);
    cost.overran();
    expect(limits.mayBegin(textOf(cost))).toBe(false);
    end();
    expect(limits.mayBegin(textOf(cost))).toBe(true);
  });

  it.each([
    [1, 1],
    [2, 1],
    [3, 2],
  ])('of %d processes leave all but %d to runs that are known', (processes, most) => {
    const limits = createTimeLimits({ timeoutMs, processes: () => processes });
    const cost = knownCost();
    for (const [text, other] of [
      [textOf(cost, true), textOf(createCostModel(UNMEASURED))],
      [textOf(createCostModel(UNMEASURED)), textOf(cost, true)],
    ] as const) {
      const ends = Array.from({ length: most }, () => limits.begin(text));
      expect([text, other, textOf(cost)].map((one) => limits.mayBegin(one))).toEqual([false, true, true]);
      limits.begin(textOf(cost))();
      expect(limits.mayBegin(text)).toBe(false);
      ends[0]?.();
      expect(limits.mayBegin(text)).toBe(true);
      for (const end of ends.slice(1)) end();
    }
  });
});
