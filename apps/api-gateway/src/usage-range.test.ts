import { describe, expect, it } from '@jest/globals';
import { periodOf } from '@sluice/quota';
import fc from 'fast-check';
import { usageRange, type AskedRange } from './usage-range.js';

const NOW = Date.parse('2026-11-21T10:07:00Z');
const range = (asked: AskedRange, zone = 'UTC', nowMs = NOW): readonly string[] => {
  const { fromMs, toMs } = usageRange(asked, zone, nowMs);
  return [fromMs, toMs].map((ms) => new Date(ms).toISOString().replace(':00.000Z', ''));
};

describe('the range of a report', () => {
  it('is of the last 30 days unless it is asked for otherwise, in whole quarters of an hour', () => {
    expect(range({})).toEqual(['2026-10-22T10:00', '2026-11-21T10:15']);
    expect(range({ to: '2026-11-01T00:00:00Z' })).toEqual(['2026-10-02T00:00', '2026-11-01T00:00']);
  });

  it('takes dates as days of the zone, also when clocks change', () => {
    expect(range({ from: '2026-11-01', to: '2026-11-02' }, 'America/New_York')).toEqual([
      '2026-11-01T04:00',
      '2026-11-02T05:00',
    ]);
    expect(range({ from: '2026-11-01', to: '2026-11-02' }, 'Asia/Kathmandu')[0]).toBe('2026-10-31T18:15');
  });

  it('rounds instants outwards', () => {
    const asked = { from: '2026-11-01T10:14:59.999Z', to: '2026-11-01T12:15:00.001+02:00' };
    expect(range(asked)).toEqual(['2026-11-01T10:00', '2026-11-01T10:30']);
  });

  it('of a month asked for by dates is the month that quotas and budgets count', () => {
    const zones = fc.constantFrom('UTC', 'Europe/Berlin', 'America/Havana', 'Asia/Kolkata', 'Australia/Lord_Howe');
    const times = fc.integer({ min: Date.parse('2000-01-01T00:00:00Z'), max: Date.parse('2060-01-01T00:00:00Z') });
    fc.assert(
      fc.property(zones, times, (zone, nowMs) => {
        const { id, nextId, startsAtMs, endsAtMs } = periodOf('month', zone, nowMs);
        const asked = { from: `${id}-01`, to: `${nextId}-01` };
        expect(usageRange(asked, zone, NOW)).toEqual({ fromMs: startsAtMs, toMs: endsAtMs });
      }),
    );
  });

  it.each([
    [{ from: '2026-11-02', to: '2026-11-02' }, /must be before/],
    [{ from: '2026-11-02T10:02:00Z', to: '2026-11-02T10:01:00Z' }, /must be before/],
    [{ from: '2026-11-22' }, /must be before/],
    [{ from: '2025-01-01', to: '2026-02-06' }, /at most 400 days/],
  ])('is not %j', (asked, message) => {
    expect(() => usageRange(asked, 'Europe/Berlin', NOW)).toThrow(message);
  });

  it('may be of 400 days, one of which has 25 hours', () => {
    expect(range({ from: '2025-08-01', to: '2026-09-05' }, 'Europe/Berlin')).toHaveLength(2);
    expect(range({ from: '2025-10-01', to: '2026-11-05' }, 'Europe/Berlin')).toHaveLength(2);
  });
});
