import {
  limitName,
  LIMITS,
  rulesOf,
  type LimitFacts,
  type LimitKind,
  type LimitScope,
  type LimitSet,
  type LimitUnit,
} from '@sluice/contracts';
import { periodOf, type Period } from './periods.js';

/** A rule for one subject of a scope. */
export interface Limit {
  /** Unique among the limits of a tenant; clients see it. A line of text without spaces. */
  readonly name: string;
  readonly kind: LimitKind;
  readonly unit: LimitUnit;
  /** In the limit's unit, a whole number, 1 … LARGEST_MAX; for a rate `max × windowMs` must be below 2^53 too. */
  readonly max: number;
  /** For a rate only: in what time an empty bucket fills, in milliseconds. */
  readonly windowMs?: number;
  /** For a quota only. */
  readonly period?: Period;
  /** A soft limit is counted and refuses nothing. */
  readonly soft?: boolean;
}

/** The limits that one subject has. */
export interface ScopedLimits {
  readonly scope: LimitScope;
  /** `''` for the tenant, the API key's id, or the model's name. */
  readonly subject: string;
  readonly limits: readonly Limit[];
}

/** How far a limit is used, by the clock of Redis. All counts are in the limit's unit. */
export interface LimitStatus {
  readonly name: string;
  readonly scope: LimitScope;
  readonly subject: string;
  readonly kind: LimitKind;
  readonly unit: LimitUnit;
  readonly max: number;
  readonly soft: boolean;
  /**
   * Quota: used by settled jobs in this period, overage included. Rate: what the bucket lacks, holds included; above
   * `max` while it is in debt. In flight: 0.
   */
  readonly used: number;
  /** Quota: in open holds that were made in this period. In flight: in open holds. Rate: 0, see `used`. */
  readonly held: number;
  /** Quota: the part of `used` that jobs used beyond their holds. Otherwise 0. */
  readonly overage: number;
  /** What the next job may take, from 0. */
  readonly remaining: number;
  /**
   * Milliseconds until the limit is wholly unused again: a rate's bucket is full, a quota's period ends. In flight: 0,
   * for nobody knows when jobs end.
   */
  readonly resetsInMs: number;
}

/**
 * The largest maximum of a limit: a little below 2^53, so that a maximum and a job beside it are still exact. A budget
 * in nano-USD may be that large.
 */
export const LARGEST_MAX = 9_000_000_000_000_000;

interface Derived {
  readonly day: Period;
  readonly month: Period;
  readonly limits: readonly Limit[];
}
const derived = new WeakMap<LimitSet, Map<string, Derived>>();

/**
 * The limits of a set for a subject of `scope` in `timeZone` at `nowMs`, in the order of `LIMITS`. The same array is
 * returned while set object, zone, day and month stay the same, so that what is derived from it can be kept. Throws a
 * RangeError for an unknown time zone.
 */
export function limitsOf(set: LimitSet, scope: LimitScope, timeZone: string, nowMs: number): readonly Limit[] {
  const [day, month] = [periodOf('day', timeZone, nowMs), periodOf('month', timeZone, nowMs)];
  const bySubject = derived.get(set) ?? new Map<string, Derived>();
  const key = `${scope} ${timeZone}`;
  const known = bySubject.get(key);
  if (known?.day === day && known.month === month) return known.limits;
  const limits: readonly Limit[] = Object.freeze(
    rulesOf(set).map(({ key: limit, max, soft }): Limit => {
      const { kind, unit, windowMs, period }: LimitFacts = LIMITS[limit];
      return Object.freeze({
        ...{ name: limitName(scope, limit), kind, unit, max },
        ...(windowMs !== undefined && { windowMs }),
        ...(period !== undefined && { period: period === 'day' ? day : month }),
        ...(soft && { soft }),
      });
    }),
  );
  derived.set(set, bySubject.set(key, { day, month, limits }));
  return limits;
}
