import type { PlanLimits } from '@sluice/contracts';
import { DateTime } from 'luxon';

/**
 * `rate`: a token bucket of `max` that refills evenly within `windowMs` and may go negative.
 * `quota`: at most `max` held and used within a calendar period.
 */
export type LimitKind = 'rate' | 'quota';

/**
 * The calendar period of a quota and the one after it. Redis picks by its own clock, so the caller's clock only has
 * to be right to within a period. Ids hold no spaces and differ between periods.
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

/** A rule for one tenant. */
export interface Limit {
  /** Unique among the limits of a tenant; clients see it. Not `loaded`. */
  readonly name: string;
  readonly kind: LimitKind;
  /** Tokens, a whole number, 1 … LARGEST_MAX; for a rate `max × windowMs` must be below 2^53 too. */
  readonly max: number;
  /** For a rate only: in what time an empty bucket fills, in milliseconds. */
  readonly windowMs?: number;
  /** For a quota only. */
  readonly period?: Period;
}

/** How far a limit is used, by the clock of Redis. All counts are tokens. */
export interface LimitStatus {
  readonly name: string;
  readonly kind: LimitKind;
  readonly max: number;
  /**
   * Quota: used by settled jobs in this period, overage included. Rate: what the bucket lacks, holds included; above
   * `max` while it is in debt.
   */
  readonly used: number;
  /** Quota: in open holds that were made in this period. Rate: 0, a bucket does not tell holds from use. */
  readonly held: number;
  /** The part of `used` that jobs used beyond their holds. Rate: 0. */
  readonly overage: number;
  /** What the next job may take, from 0. */
  readonly remaining: number;
  /** Milliseconds until the limit is wholly unused again: a rate's bucket is full, a quota's period ends. */
  readonly resetsInMs: number;
}

export const TOKENS_PER_MINUTE = 'tokens-per-minute';
export const TOKENS_PER_MONTH = 'tokens-per-month';

/**
 * The largest maximum of a limit. A little below 2^53, because ioredis misreads integers just below that: it adds the
 * last digit as a character code before it takes the code of "0" off.
 */
export const LARGEST_MAX = 9_000_000_000_000_000;

const MINUTE_MS = 60_000;
const months = new Map<string, Period>();
const planLimits = new WeakMap<
  PlanLimits,
  Map<string, { readonly period: Period; readonly limits: readonly Limit[] }>
>();

/**
 * The calendar month that `nowMs` (Unix milliseconds) lies in, in an IANA time zone; its id is like `2026-11`.
 * Throws a RangeError for an unknown time zone.
 */
export function monthOf(timeZone: string, nowMs: number): Period {
  const known = months.get(timeZone);
  if (known && known.startsAtMs <= nowMs && nowMs < known.endsAtMs) return known;
  const start = DateTime.fromMillis(nowMs, { zone: timeZone }).startOf('month');
  if (!start.isValid) throw new RangeError(`"${timeZone}" is not a time zone, or ${nowMs} is not a time`);
  const next = start.plus({ months: 1 }).startOf('month');
  const period = Object.freeze({
    id: start.toFormat('yyyy-MM'),
    startsAtMs: start.toMillis(),
    endsAtMs: next.toMillis(),
    nextId: next.toFormat('yyyy-MM'),
    nextEndsAtMs: next.plus({ months: 1 }).startOf('month').toMillis(),
  });
  months.set(timeZone, period);
  return period;
}

/**
 * The limits of a plan for a tenant in `timeZone` at `nowMs`. The same array is returned while plan object and month
 * stay the same, so that what is derived from it can be kept. Throws a RangeError for an unknown time zone.
 */
export function limitsOf(plan: PlanLimits, timeZone: string, nowMs: number): readonly Limit[] {
  const period = monthOf(timeZone, nowMs);
  const byZone = planLimits.get(plan) ?? new Map<string, { period: Period; limits: readonly Limit[] }>();
  const known = byZone.get(timeZone);
  if (known?.period === period) return known.limits;
  const limits: readonly Limit[] = Object.freeze([
    { name: TOKENS_PER_MINUTE, kind: 'rate', max: plan.tokensPerMinute, windowMs: MINUTE_MS },
    { name: TOKENS_PER_MONTH, kind: 'quota', max: plan.tokensPerMonth, period },
  ]);
  planLimits.set(plan, byZone.set(timeZone, { period, limits }));
  return limits;
}

const encodedLimits = new WeakMap<readonly Limit[], string>();

/** The limits as `read_limits` of `lua/limit-state.lua` reads them: lists, which decode in a third of the time. Throws a RangeError when one cannot be kept exactly; kept per array. */
export function encodeLimits(limits: readonly Limit[]): string {
  const known = encodedLimits.get(limits);
  if (known !== undefined) return known;
  limits.forEach(checkLimit);
  const encoded = JSON.stringify(
    limits.map(({ name, kind, max, windowMs, period: p }) =>
      p ? [name, kind, max, p.id, p.startsAtMs, p.endsAtMs, p.nextId, p.nextEndsAtMs] : [name, kind, max, windowMs],
    ),
  );
  encodedLimits.set(limits, encoded);
  return encoded;
}

function checkLimit({ name, kind, max, windowMs, period }: Limit): void {
  const wrong = (reason: string) => new RangeError(`limit "${name}" ${reason}`);
  if (name === 'loaded' || name === '') throw wrong('has a reserved name');
  if (!Number.isInteger(max) || max < 1 || max > LARGEST_MAX)
    throw wrong(`must have a whole maximum, 1 … ${LARGEST_MAX}`);
  if (kind === 'rate') {
    if (period) throw wrong('must not have a period');
    if (!windowMs || !Number.isSafeInteger(windowMs) || windowMs < 1) throw wrong('must have a window of whole ms');
    if (!Number.isSafeInteger(max * windowMs)) throw wrong('is too large: max × windowMs must be below 2^53');
  } else {
    if (!period) throw wrong('must have a period');
    if (/\s|^$/.test(period.id) || /\s|^$/.test(period.nextId)) throw wrong('has a period id with spaces');
    if (period.startsAtMs >= period.endsAtMs || period.endsAtMs >= period.nextEndsAtMs) throw wrong('has no period');
  }
}
