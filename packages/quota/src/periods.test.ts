import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isPeriodId, periodId, periodNumber, periodOf, startOfDay } from './periods.js';

describe('periodOf', () => {
  it('follows the calendar of the time zone, also across a change of the clocks', () => {
    expect(periodOf('month', 'Europe/Berlin', Date.parse('2026-03-15T12:00:00Z'))).toEqual({
      id: '2026-03',
      startsAtMs: Date.parse('2026-02-28T23:00:00Z'),
      endsAtMs: Date.parse('2026-03-31T22:00:00Z'),
      nextId: '2026-04',
      nextEndsAtMs: Date.parse('2026-04-30T22:00:00Z'),
    });
    expect(periodOf('month', 'Pacific/Kiritimati', Date.parse('2026-12-31T10:00:00Z')).id).toBe('2027-01');
    expect(periodOf('month', 'America/St_Johns', Date.parse('2027-01-01T03:29:59.999Z')).id).toBe('2026-12');
    const short = periodOf('day', 'Europe/Berlin', Date.parse('2026-03-29T12:00:00Z'));
    expect(short).toMatchObject({ id: '2026-03-29', nextId: '2026-03-30' });
    expect(short.endsAtMs - short.startsAtMs).toBe(23 * 3_600_000);
  });

  it.each(['day', 'month'] as const)(
    'covers time without gaps: a %s holds its time and is followed by the next',
    (name) => {
      const zones = fc.constantFrom(
        'UTC',
        'America/Havana',
        'America/Sao_Paulo',
        'Asia/Tehran',
        'Australia/Lord_Howe',
        'Africa/Cairo',
      );
      const times = fc.integer({ min: Date.parse('1990-01-01T00:00:00Z'), max: Date.parse('2060-01-01T00:00:00Z') });
      fc.assert(
        fc.property(zones, times, (zone, nowMs) => {
          const period = periodOf(name, zone, nowMs);
          expect(period.startsAtMs).toBeLessThanOrEqual(nowMs);
          expect(period.endsAtMs).toBeGreaterThan(nowMs);
          const next = periodOf(name, zone, period.endsAtMs);
          expect(next).toMatchObject({
            ...{ id: period.nextId, startsAtMs: period.endsAtMs, endsAtMs: period.nextEndsAtMs },
          });
          expect(periodOf(name, zone, period.endsAtMs - 1)).toEqual(period);
          for (const id of [period.id, period.nextId]) {
            expect(isPeriodId(id)).toBe(true);
            expect(periodId(periodNumber(id))).toBe(id);
          }
        }),
      );
    },
  );

  it.each(['2026-11-01T04:30:00Z', '2026-11-01T05:30:00Z', '2026-11-02T04:59:59Z'])(
    'begins a day that has two midnights at the first, asked at %s',
    (time) => {
      const day = {
        startsAtMs: Date.parse('2026-11-01T04:00:00Z'),
        endsAtMs: Date.parse('2026-11-02T05:00:00Z'),
      };
      // A zone by another name, which nothing has been asked of yet, and the same one with what is kept of it.
      expect(periodOf('day', 'Cuba', Date.parse(time))).toMatchObject({ id: '2026-11-01', ...day });
      expect(periodOf('month', 'America/Havana', Date.parse(time))).toMatchObject({
        id: '2026-11',
        startsAtMs: day.startsAtMs,
      });
      periodOf('day', 'Cuba', 0);
      periodOf('month', 'America/Havana', 0);
    },
  );

  it('refuses what is not a time zone', () => {
    expect(() => periodOf('day', 'Mars/Olympus', 0)).toThrow(RangeError);
  });
});

describe('startOfDay', () => {
  const zones = [
    'UTC',
    'America/Sao_Paulo',
    'America/Havana',
    'Asia/Kathmandu',
    'Atlantic/Azores',
    'Pacific/Kiritimati',
  ];
  it('is where the quotas of the day begin, and those of the month on its first day', () => {
    const times = fc.integer({ min: Date.parse('1990-01-01T00:00:00Z'), max: Date.parse('2060-01-01T00:00:00Z') });
    fc.assert(
      fc.property(fc.constantFrom(...zones), times, (zone, nowMs) => {
        const [day, month] = [periodOf('day', zone, nowMs), periodOf('month', zone, nowMs)];
        expect(startOfDay(day.id, zone)).toBe(day.startsAtMs);
        expect(startOfDay(day.nextId, zone)).toBe(day.endsAtMs);
        expect(startOfDay(`${month.id}-01`, zone)).toBe(month.startsAtMs);
      }),
    );
  });

  it('takes the first of two midnights, the first moment where midnight is skipped, and the next day for a skipped one', () => {
    expect(startOfDay('2026-11-01', 'America/Havana')).toBe(Date.parse('2026-11-01T04:00:00Z'));
    expect(startOfDay('2026-03-08', 'America/Havana')).toBe(Date.parse('2026-03-08T05:00:00Z'));
    expect(startOfDay('2011-12-30', 'Pacific/Apia')).toBe(startOfDay('2011-12-31', 'Pacific/Apia'));
  });

  it('refuses what is no day and no zone', () => {
    expect(() => startOfDay('2026-02-30', 'UTC')).toThrow(RangeError);
    expect(() => startOfDay('2026-02-01', 'Mars/Olympus')).toThrow(RangeError);
  });
});
