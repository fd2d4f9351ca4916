import { describe, expect, it } from '@jest/globals';
import type { LimitStatus } from '@sluice/quota';
import { refusal, usdText } from './refusal.js';

const needs = { reservedTokens: 700, reservedNanoUsd: 100_000_000 };
const rate: LimitStatus = {
  ...{ name: 'api-key:tokens-per-minute', scope: 'apiKey', subject: 'k', kind: 'rate', unit: 'tokens', max: 1_000 },
  ...{ soft: false, used: 600, held: 0, overage: 0, remaining: 400, resetsInMs: 36_000 },
};
const refuse = (limit: LimitStatus, clearsInMs: number | undefined) =>
  refusal({ outcome: 'refused', limit, clearsInMs, limits: [limit], nowMs: 0 }, needs, []);

describe('a refusal', () => {
  it('names the limit, whose it is, what the job needs and what is left, and says when it clears', () => {
    const error = refuse(rate, 18_001);
    expect(error).toMatchObject({ code: 'rate_limited', retryAfterSeconds: 19 });
    expect(error.message).toBe(
      'The job needs 700 tokens; api-key:tokens-per-minute has 400 tokens left and clears in 19 s.',
    );
    expect(error.extensions).toEqual({
      ...{ limit: 'api-key:tokens-per-minute', scope: 'apiKey', subject: 'k', unit: 'tokens', requested: 700 },
      ...{ max: 1_000, used: 600, held: 0, remaining: 400, clearsInSeconds: 19 },
    });
  });

  it('by a quota or a budget has a code of its own, and speaks of money in dollars', () => {
    expect(refuse({ ...rate, kind: 'quota' }, 5).code).toBe('quota_exceeded');
    const budget = {
      ...rate,
      name: 'money-per-month',
      scope: 'tenant',
      subject: '',
      kind: 'quota',
      unit: 'nanoUsd',
    } as const;
    const error = refuse({ ...budget, remaining: 50_000_000 }, 5);
    expect(error).toMatchObject({ code: 'budget_exceeded', retryAfterSeconds: 1 });
    expect(error.message).toBe('The job needs $0.10; money-per-month has $0.05 left and clears in 1 s.');
    expect(error.extensions).not.toHaveProperty('subject');
    expect(error.extensions).toMatchObject({ unit: 'nanoUsd', requested: 100_000_000 });
  });

  it('by what is in flight asks to come back soon, and tells the latest moment apart', () => {
    const limit = { ...rate, name: 'concurrent-jobs', kind: 'inFlight', unit: 'requests', remaining: 0 } as const;
    const error = refuse(limit, 3_600_000);
    expect(error.code).toBe('concurrency_limited');
    expect(error.retryAfterSeconds).toBeGreaterThanOrEqual(1);
    expect(error.retryAfterSeconds).toBeLessThanOrEqual(5);
    expect(error.extensions).toMatchObject({ requested: 1, clearsInSeconds: 3_600 });
    expect(error.message).toBe('The job needs 1 request; concurrent-jobs has 0 requests left and clears as jobs end.');
  });

  it('that no time will lift is not retryable', () => {
    const error = refuse({ ...rate, max: 500 }, undefined);
    expect(error).toMatchObject({ code: 'exceeds_limit', retryable: false, retryAfterSeconds: undefined });
    expect(error.message).toBe(
      'The job needs 700 tokens, more than api-key:tokens-per-minute ever allows (500 tokens).',
    );
  });
});

it.each([
  [0, '$0.00'],
  [1, '$0.000000001'],
  [10_000_000, '$0.01'],
  [123_456_789, '$0.123456789'],
  [5_000_000_000, '$5.00'],
  [9_000_000_000_000_000, '$9000000.00'],
  [1_250_000_000, '$1.25'],
])('%d nano-USD are %s', (nanoUsd, text) => {
  expect(usdText(nanoUsd)).toBe(text);
});
