import { describe, expect, it } from '@jest/globals';
import { planSchema } from '@sluice/contracts';
import type { Measure } from '@sluice/store';
import { planLoad } from './load-plan.js';

const NOW = Date.UTC(2026, 10, 21, 12);
const plan = planSchema.parse({
  limits: { tokensPerMinute: 600, tokensPerMonth: 10_000, concurrentJobs: 5 },
  perApiKey: { tokensPerMinute: 100, tokensPerDay: 1_000 },
  perModel: { large: { tokensPerDay: 50 }, '*': { tokensPerDay: 500, requestsPerMinute: 10 } },
});
const subject = {
  plan,
  timeZone: 'UTC',
  keyLimits: new Map([['own', { tokensPerMinute: 30, moneyPerMonth: 7 }]]),
  models: ['small', 'large'],
  nowMs: NOW,
};
const short = ({ scope, unit, window }: Measure): string =>
  window.kind === 'rate'
    ? `${scope} ${unit} ${window.max}/${window.windowMs}`
    : `${scope} ${unit} ${window.toMs - window.fromMs}`;
const DAY = 86_400_000;

describe('a plan of what to load', () => {
  it('asks once for each limit that anybody of the tenant has, and not for what follows from open holds', () => {
    expect(planLoad(subject).measures.map(short).sort()).toEqual(
      [
        'tenant tokens 600/60000',
        `tenant tokens ${30 * DAY}`,
        'apiKey tokens 100/60000',
        'apiKey tokens 30/60000',
        `apiKey tokens ${DAY}`,
        `apiKey nanoUsd ${30 * DAY}`,
        `model tokens ${DAY}`,
        'model requests 10/60000',
      ].sort(),
    );
  });

  it('vouches only for limits that every subject of a scope has', () => {
    expect(planLoad(subject).cover).toEqual([
      'tokens-per-minute',
      'tokens-per-month',
      'concurrent-jobs',
      'api-key:tokens-per-minute',
      'api-key:tokens-per-day',
      'model:tokens-per-day',
    ]);
    expect(planLoad({ ...subject, keyLimits: new Map([['own', { tokensPerDay: null }]]) }).cover).not.toContain(
      'api-key:tokens-per-day',
    );
  });

  it('loads whoever used something, holds something, or has a limit that not all have', () => {
    const { measures, statesOf } = planLoad(subject);
    const index = (text: string): number => measures.findIndex((measure) => short(measure) === text);
    const { scopes, posted, openHolds } = statesOf({
      amounts: [
        { measure: index('tenant tokens 600/60000'), subject: '', used: 40.2, overage: 0 },
        { measure: index(`apiKey tokens ${DAY}`), subject: 'used', used: 12, overage: 2 },
        { measure: index('apiKey tokens 100/60000'), subject: 'own', used: 90, overage: 0 },
        { measure: index('apiKey tokens 30/60000'), subject: 'own', used: 33, overage: 0 },
        { measure: index(`model tokens ${DAY}`), subject: 'retired', used: 1, overage: 0 },
      ],
      openHolds: [
        {
          ...{ jobId: 'j', apiKeyId: 'held', model: 'large', reservedTokens: 9, reservedNanoUsd: 3 },
          ...{ expiresAtMs: NOW + 1, acceptedAtMs: NOW },
        },
      ],
    });
    expect(scopes.map(({ scope, subject: whose }) => `${scope} ${whose}`)).toEqual([
      'tenant ',
      'apiKey used',
      'apiKey own',
      'apiKey held',
      'model retired',
      'model large',
      'model small',
    ]);
    expect(posted).toEqual([
      { scope: 'tenant', subject: '', name: 'tokens-per-minute', used: 41, overage: 0 },
      { scope: 'apiKey', subject: 'used', name: 'api-key:tokens-per-day', used: 12, overage: 2 },
      { scope: 'apiKey', subject: 'own', name: 'api-key:tokens-per-minute', used: 33, overage: 0 },
      { scope: 'model', subject: 'retired', name: 'model:tokens-per-day', used: 1, overage: 0 },
    ]);
    expect(openHolds).toEqual([
      {
        ...{ jobId: 'j', apiKeyId: 'held', model: 'large', amounts: { tokens: 9, nanoUsd: 3 } },
        ...{ expiresAtMs: NOW + 1, acceptedAtMs: NOW },
      },
    ]);
  });

  it('always loads the tenant itself, so that it counts as loaded', () => {
    const bare = { ...subject, plan: planSchema.parse({ limits: { tokensPerDay: 1 } }), keyLimits: new Map() };
    expect(planLoad(bare).statesOf({ amounts: [], openHolds: [] }).scopes).toMatchObject([{ scope: 'tenant' }]);
  });
});
