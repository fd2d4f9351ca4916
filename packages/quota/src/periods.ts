import type { PeriodName } from '@sluice/contracts';
import { DateTime } from 'luxon';

/**
 * The calendar period of a quota and the one after it. Redis picks by its own clock, so the caller's clock only has
 * to be right to within a period. Ids differ between periods: `yyyy-MM` of a month, `yyyy-MM-dd` of a day.
 */
export interface Period {
  readonly id: string;
  /** Unix milliseconds, inclusive. */
  readonly startsAtMs: number;
  /** Unix milliseconds, exclusive. */
  readonly endsAtMs: number;
  readonly nextId: string;
  readonly nextEndsAtMs: number;
}

const FORMATS: Readonly<Record<PeriodName, string>> = { day: 'yyyy-MM-dd', month: 'yyyy-MM' };
const current = new Map<string, Period>();

/**
 * The calendar day or month that `nowMs` (Unix milliseconds) lies in, in an IANA time zone. The same object is returned
 * while it lasts. Throws a RangeError for an unknown time zone.
 */
export function periodOf(name: PeriodName, timeZone: string, nowMs: number): Period {
  const key = `${name} ${timeZone}`;
  const known = current.get(key);
  if (known && known.startsAtMs <= nowMs && nowMs < known.endsAtMs) return known;
  const start = DateTime.fromMillis(nowMs, { zone: timeZone }).startOf(name);
  if (!start.isValid) throw new RangeError(`"${timeZone}" is not a time zone, or ${nowMs} is not a time`);
  const next = start.plus({ [name]: 1 }).startOf(name);
  const period = Object.freeze({
    id: start.toFormat(FORMATS[name]),
    startsAtMs: firstOf(start),
    endsAtMs: firstOf(next),
    nextId: next.toFormat(FORMATS[name]),
    nextEndsAtMs: firstOf(next.plus({ [name]: 1 }).startOf(name)),
  });
  current.set(key, period);
  return period;
}

/**
 * n.b. where clocks go back at one o'clock to midnight (Havana, the Azores) a day has two midnights, and which of them luxon
 * takes depends on the time it starts from. A period begins at the first.
 */
function firstOf(midnight: DateTime): number {
  return Math.min(...midnight.getPossibleOffsets().map(Number));
}

/**
 * When a day of the calendar (`yyyy-MM-dd`) begins in an IANA time zone, in Unix milliseconds: where the quotas of that day,
 * and of a month that it is the first of, begin. A day that a zone has skipped begins with the next. Throws a RangeError for
 * what is no day or no zone.
 */
export function startOfDay(date: string, timeZone: string): number {
  const start = DateTime.fromISO(date, { zone: timeZone }).startOf('day');
  if (!start.isValid) throw new RangeError(`"${date}" is not a day, or "${timeZone}" is not a time zone`);
  return firstOf(start);
}

const ID = /^\d{4}-\d{2}(-\d{2})?$/;

/** True for an id that Redis can keep. */
export function isPeriodId(id: string): boolean {
  return ID.test(id);
}

/** A period's id as Redis keeps it: its digits. */
export function periodNumber(id: string): number {
  return Number(id.replaceAll('-', ''));
}

/** The id behind such a number. */
export function periodId(number: number): string {
  const digits = String(number).padStart(number < 1_000_000 ? 6 : 8, '0');
  return [digits.slice(0, 4), digits.slice(4, 6), digits.slice(6)].filter((part) => part !== '').join('-');
}
