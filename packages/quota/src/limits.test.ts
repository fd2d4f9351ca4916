import { describe, expect, it } from '@jest/globals';
import { MAX_BUDGET_USD, MAX_PER_MINUTE, MAX_TOKENS_PER_PERIOD } from '@sluice/contracts';
import { definitionsOf } from './definitions.js';
import { LARGEST_MAX, limitsOf } from './limits.js';

const set = { tokensPerMinute: 10, tokensPerDay: 50, tokensPerMonth: { max: 100, soft: true, alertAtPercent: [] } };
const [night, nextDay] = [Date.parse('2026-11-30T00:00:00Z'), Date.parse('2026-12-01T00:00:00Z')];

describe('limitsOf', () => {
  it('names the limits of a scope in the order of the contracts', () => {
    expect(limitsOf(set, 'model', 'UTC', night)).toMatchObject([
      { name: 'model:tokens-per-minute', kind: 'rate', unit: 'tokens', max: 10, windowMs: 60_000 },
      { name: 'model:tokens-per-day', kind: 'quota', max: 50, period: { id: '2026-11-30', nextId: '2026-12-01' } },
      { name: 'model:tokens-per-month', kind: 'quota', max: 100, soft: true, period: { id: '2026-11' } },
    ]);
    expect(limitsOf({ concurrentJobs: 3 }, 'tenant', 'UTC', 0)).toEqual([
      { name: 'concurrent-jobs', kind: 'inFlight', unit: 'requests', max: 3 },
    ]);
  });

  it('returns the same array while set, scope, zone and periods stay the same', () => {
    const limits = limitsOf(set, 'tenant', 'UTC', night);
    expect(limitsOf(set, 'tenant', 'UTC', night + 1)).toBe(limits);
    expect(limitsOf(set, 'apiKey', 'UTC', night)).not.toBe(limits);
    expect(limitsOf(set, 'tenant', 'UTC', night)).toBe(limits);
    expect(limitsOf(set, 'tenant', 'Asia/Tokyo', night)).not.toBe(limits);
    expect(limitsOf(set, 'tenant', 'UTC', nextDay)).not.toBe(limits);
    expect(limitsOf({ ...set }, 'tenant', 'UTC', nextDay)).not.toBe(limitsOf(set, 'tenant', 'UTC', nextDay));
  });

  it('can keep the largest limits that the configuration allows', () => {
    const largest = {
      ...{ requestsPerMinute: MAX_PER_MINUTE, tokensPerMinute: MAX_PER_MINUTE, moneyPerMonth: MAX_BUDGET_USD * 1e9 },
      ...{ tokensPerDay: MAX_TOKENS_PER_PERIOD, tokensInFlight: MAX_TOKENS_PER_PERIOD },
    };
    expect(() => definitionsOf(limitsOf(largest, 'tenant', 'UTC', 0))).not.toThrow();
    expect(MAX_BUDGET_USD * 1e9).toBeLessThanOrEqual(LARGEST_MAX);
  });
});
