import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MAX_TOKENS_PER_MINUTE, MAX_TOKENS_PER_MONTH } from '@sluice/contracts';
import { encodeLimits, limitsOf, monthOf, type Limit } from './limits.js';

const plan = { tokensPerMinute: 10, tokensPerMonth: 100 };

describe('monthOf', () => {
  it('follows the calendar of the time zone, also across a change of the clocks', () => {
    expect(monthOf('Europe/Berlin', Date.parse('2026-03-15T12:00:00Z'))).toEqual({
      id: '2026-03',
      startsAtMs: Date.parse('2026-02-28T23:00:00Z'),
      endsAtMs: Date.parse('2026-03-31T22:00:00Z'),
      nextId: '2026-04',
      nextEndsAtMs: Date.parse('2026-04-30T22:00:00Z'),
    });
    expect(monthOf('Pacific/Kiritimati', Date.parse('2026-12-31T10:00:00Z')).id).toBe('2027-01');
    expect(monthOf('America/St_Johns', Date.parse('2027-01-01T03:29:59.999Z')).id).toBe('2026-12');
  });

  it('covers time without gaps: a month holds its time and is followed by the next', () => {
    const zones = fc.constantFrom('UTC', 'America/Sao_Paulo', 'Asia/Tehran', 'Australia/Lord_Howe', 'Africa/Cairo');
    const times = fc.integer({ min: Date.parse('1990-01-01T00:00:00Z'), max: Date.parse('2060-01-01T00:00:00Z') });
    fc.assert(
      fc.property(zones, times, (zone, nowMs) => {
        const month = monthOf(zone, nowMs);
        expect(month.startsAtMs).toBeLessThanOrEqual(nowMs);
        expect(month.endsAtMs).toBeGreaterThan(nowMs);
        const next = monthOf(zone, month.endsAtMs);
        expect(next).toMatchObject({ id: month.nextId, startsAtMs: month.endsAtMs, endsAtMs: month.nextEndsAtMs });
        expect(monthOf(zone, month.endsAtMs - 1)).toEqual(month);
      }),
    );
  });

  it('refuses what is not a time zone', () => {
    expect(() => monthOf('Mars/Olympus', 0)).toThrow(RangeError);
  });
});

describe('limitsOf', () => {
  it('returns the same array while plan and month stay the same', () => {
    const [november, december] = [Date.parse('2026-11-10T00:00:00Z'), Date.parse('2026-12-10T00:00:00Z')];
    const limits = limitsOf(plan, 'UTC', november);
    expect(limits).toMatchObject([
      { name: 'tokens-per-minute', kind: 'rate', max: 10, windowMs: 60_000 },
      { name: 'tokens-per-month', kind: 'quota', max: 100, period: { id: '2026-11', nextId: '2026-12' } },
    ]);
    expect(limitsOf(plan, 'UTC', november + 1)).toBe(limits);
    expect(limitsOf(plan, 'UTC', december)).not.toBe(limits);
    expect(limitsOf({ ...plan }, 'UTC', december)).not.toBe(limitsOf(plan, 'UTC', december));
  });

  it('can keep the largest plan that the configuration allows', () => {
    const largest = { tokensPerMinute: MAX_TOKENS_PER_MINUTE, tokensPerMonth: MAX_TOKENS_PER_MONTH };
    expect(() => encodeLimits(limitsOf(largest, 'UTC', 0))).not.toThrow();
  });
});

describe('encodeLimits', () => {
  const rate: Limit = { name: 'rate', kind: 'rate', max: 10, windowMs: 1000 };
  const period = { id: 'a', startsAtMs: 0, endsAtMs: 1, nextId: 'b', nextEndsAtMs: 2 };
  const quota: Limit = { name: 'quota', kind: 'quota', max: 10, period };

  it.each<[string, Limit]>([
    ['a reserved name', { ...rate, name: 'loaded' }],
    ['no maximum', { ...rate, max: 0 }],
    ['a fraction', { ...quota, max: 1.5 }],
    ['a maximum beyond exact integers', { ...quota, max: 2 ** 53 }],
    ['a bucket beyond exact integers', { ...rate, max: 2 ** 50 }],
    ['no window', { name: 'rate', kind: 'rate', max: 1 }],
    ['a period that is none of its own', { ...rate, period }],
    ['no period', { name: 'quota', kind: 'quota', max: 1 }],
    ['a period id with spaces', { ...quota, period: { ...period, id: 'a b' } }],
    ['a period that ends before it starts', { ...quota, period: { ...period, endsAtMs: 0 } }],
  ])('refuses a limit with %s', (_, limit) => {
    expect(() => encodeLimits([rate, limit])).toThrow(RangeError);
  });

  it('takes a good one', () => {
    expect(JSON.parse(encodeLimits([rate, quota]))).toEqual([
      ['rate', 'rate', 10, 1000],
      ['quota', 'quota', 10, 'a', 0, 1, 'b', 2],
    ]);
  });
});
