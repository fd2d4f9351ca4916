import { describe, expect, it } from '@jest/globals';
import { plansFileSchema } from '@sluice/contracts';
import type { Principal } from '@sluice/store';
import { createTenantLimits } from './tenant-limits.js';

const { plans } = plansFileSchema.parse({
  plans: {
    team: {
      limits: { requestsPerMinute: 60, tokensPerMonth: 1_000 },
      perApiKey: { tokensPerDay: 500 },
      perModel: { large: { moneyPerMonth: '5' }, '*': { concurrentJobs: 9 } },
    },
    bare: { limits: {} },
  },
});
const principal: Principal = {
  ...{ tenantId: 'acme', apiKeyId: 'k1', plan: 'team', timeZone: 'UTC' },
  ...{ overrides: {}, keyLimits: {} },
};

function setUp() {
  const time = { ms: Date.UTC(2026, 10, 21, 23, 59) };
  return { time, limits: createTenantLimits({ plans: { plans }, now: () => time.ms }) };
}

function namesOf(scopes: ReturnType<ReturnType<typeof setUp>['limits']['of']>): readonly string[] {
  return scopes.flatMap(({ subject, limits }) => limits.map(({ name, max }) => `${subject} ${name} ${max}`));
}

describe('the limits of a request', () => {
  it('are those of the tenant, of the key and of the model', () => {
    const { limits } = setUp();
    expect(namesOf(limits.of(principal, 'small'))).toEqual([
      ' requests-per-minute 60',
      ' tokens-per-month 1000',
      'k1 api-key:tokens-per-day 500',
      'small model:concurrent-jobs 9',
    ]);
    expect(namesOf(limits.of(principal, 'large'))).toContain('large model:money-per-month 5000000000');
  });

  it('follow the overrides of the tenant and the changes of the key', () => {
    const { limits } = setUp();
    const changed = {
      ...principal,
      overrides: { limits: { tokensPerMonth: null }, perModel: { small: { concurrentJobs: 2 } } },
      keyLimits: { tokensPerDay: null, tokensPerMinute: 10 },
    };
    expect(namesOf(limits.of(changed, 'small'))).toEqual([
      ' requests-per-minute 60',
      'k1 api-key:tokens-per-minute 10',
      'small model:concurrent-jobs 2',
    ]);
  });

  it('name no scope that has no limits', () => {
    const { limits } = setUp();
    expect(limits.of({ ...principal, plan: 'bare' }, 'small')).toEqual([]);
  });

  it('are the same array until a day or month turns', () => {
    const { time, limits } = setUp();
    const before = limits.of(principal, 'small');
    expect(limits.of(principal, 'small')).toBe(before);
    time.ms += 60_000;
    const after = limits.of(principal, 'small');
    expect(after).not.toBe(before);
    expect(after[0]).toEqual(before[0]);
    expect(limits.of(principal, 'small')).toBe(after);
  });

  it('of several models name the tenant and the key once', () => {
    const { limits } = setUp();
    expect(limits.ofModels(principal, ['small', 'large']).map(({ scope, subject }) => `${scope} ${subject}`)).toEqual([
      'tenant ',
      'apiKey k1',
      'model small',
      'model large',
    ]);
  });

  it('cannot be told for a plan that is not configured', () => {
    const { limits } = setUp();
    const unknown = { ...principal, plan: 'constructor' };
    expect(() => limits.of(unknown, 'small')).toThrow(expect.objectContaining({ code: 'quota_unavailable' }));
  });
});

describe('a budget', () => {
  it('needs prices when it can refuse', () => {
    const { limits } = setUp();
    expect(limits.hasBudget(principal, 'small')).toBe(false);
    expect(limits.hasBudget(principal, 'large')).toBe(true);
    const soft = { limits: { moneyPerMonth: { max: 1, soft: true, alertAtPercent: [] } } };
    expect(limits.hasBudget({ ...principal, overrides: soft }, 'small')).toBe(false);
    expect(limits.hasBudget({ ...principal, keyLimits: { moneyPerMonth: 1 } }, 'small')).toBe(true);
  });
});
