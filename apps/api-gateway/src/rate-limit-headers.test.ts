import { describe, expect, it } from '@jest/globals';
import { limitSetSchema } from '@sluice/contracts';
import { limitsOf, type LimitStatus, type ScopedLimits } from '@sluice/quota';
import { goDuration, rateLimitHeaders } from './rate-limit-headers.js';

const set = limitSetSchema.parse({
  requestsPerMinute: 60,
  tokensPerMinute: 6_000,
  tokensPerDay: { max: 1, soft: true },
  concurrentJobs: 3,
  moneyPerMonth: '9000000',
});
const scopes: readonly ScopedLimits[] = [
  { scope: 'tenant', subject: '', limits: limitsOf(set, 'tenant', 'UTC', Date.UTC(2026, 10, 21)) },
  { scope: 'apiKey', subject: 'k', limits: limitsOf({ tokensPerMinute: 100 }, 'apiKey', 'UTC', 0) },
];

/** All limits unused, except for what is said. */
function statuses(changes: Readonly<Record<string, Partial<LimitStatus>>> = {}): readonly LimitStatus[] {
  return scopes.flatMap(({ scope, subject, limits }) =>
    limits.map(({ name, kind, unit, max, soft = false }) => ({
      ...{ name, scope, subject, kind, unit, max, soft, used: 0, held: 0, overage: 0, remaining: max, resetsInMs: 0 },
      ...changes[name],
    })),
  );
}

describe('the headers of limits', () => {
  it('name every limit that can refuse, with its unit and window', () => {
    expect(rateLimitHeaders(scopes, statuses())['ratelimit-policy']).toBe(
      [
        '"requests-per-minute";q=60;qu="requests";w=60',
        '"tokens-per-minute";q=6000;qu="tokens";w=60',
        '"concurrent-jobs";q=3;qu="concurrent-requests"',
        '"money-per-month";q=9000000000000;qu="micro-usd";w=2592000',
        '"api-key:tokens-per-minute";q=100;qu="tokens";w=60',
      ].join(', '),
    );
  });

  it('say what is left and when it is all there again', () => {
    const changes = {
      'tokens-per-minute': { remaining: 10, resetsInMs: 59_001 },
      'money-per-month': { remaining: 1_999, resetsInMs: 1 },
      'concurrent-jobs': { remaining: 2 },
      'requests-per-minute': { remaining: -4, resetsInMs: 64_000 },
    };
    expect(rateLimitHeaders(scopes, statuses(changes))['ratelimit']).toBe(
      [
        '"requests-per-minute";r=0;t=64',
        '"tokens-per-minute";r=10;t=60',
        '"concurrent-jobs";r=2',
        '"money-per-month";r=1;t=1',
        '"api-key:tokens-per-minute";r=100;t=0',
      ].join(', '),
    );
  });

  it("tell OpenAI's clients of the bucket with the smallest share left", () => {
    const changes = {
      'tokens-per-minute': { remaining: 3_000, resetsInMs: 30_000 },
      'api-key:tokens-per-minute': { remaining: 99, resetsInMs: 600 },
    };
    expect(rateLimitHeaders(scopes, statuses(changes))).toMatchObject({
      'x-ratelimit-limit-requests': '60',
      'x-ratelimit-remaining-requests': '60',
      'x-ratelimit-reset-requests': '0s',
      'x-ratelimit-limit-tokens': '6000',
      'x-ratelimit-remaining-tokens': '3000',
      'x-ratelimit-reset-tokens': '30s',
    });
  });

  it('are absent where nothing is known or nothing can refuse', () => {
    expect(rateLimitHeaders(scopes, [])).toEqual({});
    expect(
      rateLimitHeaders(
        scopes,
        statuses().map((status) => ({ ...status, soft: true })),
      ),
    ).toEqual({});
  });

  it.each([
    [0, '0s'],
    [-5, '0s'],
    [11.2, '12ms'],
    [999, '999ms'],
    [1_000, '1s'],
    [1_500, '1.5s'],
    [61_250, '1m1.25s'],
    [360_000, '6m0s'],
    [3_600_000, '1h0m0s'],
    [90_061_001, '25h1m1.001s'],
  ])('print %d ms as %s', (ms, text) => {
    expect(goDuration(ms)).toBe(text);
  });
});
