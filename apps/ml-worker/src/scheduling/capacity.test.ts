import { describe, expect, it } from '@jest/globals';
import { tokensPerSecond } from './capacity.js';
import { createCostModel, type CostCurve } from './cost-model.js';

const limits = { maxTokens: 1_000, maxPadding: 0.5, maxDelayMs: 2, targetLatencyMs: 1_000 };
const free: CostCurve = { perRun: 0, perText: 0, perToken: 0, perPair: 0, crowding: 0 };
const batchingOf = (curve: Partial<CostCurve>, bounds: Partial<typeof limits> = {}) => ({
  limits: { ...limits, ...bounds },
  cost: createCostModel({ curve: { ...free, ...curve }, tripMs: 1 }),
});

describe('tokensPerSecond', () => {
  it('shares what a run takes among as many texts as may be in it', () => {
    // 100 texts of 10 tokens: 1 ms for the trip, 9 ms for the run, 10 ms for its tokens.
    expect(tokensPerSecond(batchingOf({ perRun: 9, perToken: 0.01 }), 10, true)).toBeCloseTo(1_000 / 0.02);
  });

  it('lets a batch grow no larger than the target latency allows, nor than is cheapest', () => {
    const slow = batchingOf({ perText: 1 }, { targetLatencyMs: 30 });
    expect(tokensPerSecond(slow, 10, true)).toBeCloseTo((25 * 10) / 0.026);
    // A token is cheapest in batches of 10, where the trip is shared enough and crowding is small.
    expect(tokensPerSecond(batchingOf({ crowding: 0.01 }), 5, true)).toBeCloseTo(10 / 0.002);
  });

  it('runs texts one by one where a model takes no more, and lets them share the trip', () => {
    // Three texts fit into 30 ms: 9 ms and 1 ms for its tokens each.
    const each = batchingOf({ perRun: 9, perToken: 0.1 }, { targetLatencyMs: 30, maxTokens: 30 });
    expect(tokensPerSecond(each, 10, false)).toBeCloseTo(30 / 0.031);
  });

  it('runs a text that is longer than any batch by itself', () => {
    expect(tokensPerSecond(batchingOf({ perToken: 0.001 }), 4_000, true)).toBeCloseTo(4_000 / 0.005);
  });
});
