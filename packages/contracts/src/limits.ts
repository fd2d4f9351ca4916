import type { LimitSet } from './config.js';

/**
 * `rate`: a token bucket that refills evenly within a minute and may go into debt. `quota`: a sum within a calendar
 * period of the tenant's time zone. `inFlight`: a sum over the jobs that are open now.
 */
export const LIMIT_KINDS = ['rate', 'quota', 'inFlight'] as const;
export type LimitKind = (typeof LIMIT_KINDS)[number];

/** What a limit counts. Every job is 1 request. */
export const LIMIT_UNITS = ['requests', 'tokens', 'nanoUsd'] as const;
export type LimitUnit = (typeof LIMIT_UNITS)[number];

/** The periods of a quota. */
export const PERIODS = ['day', 'month'] as const;
export type PeriodName = (typeof PERIODS)[number];

/** Whom a limit applies to: the tenant as a whole, each API key by itself, or each model that the tenant uses. */
export const LIMIT_SCOPES = ['tenant', 'apiKey', 'model'] as const;
export type LimitScope = (typeof LIMIT_SCOPES)[number];

export interface LimitFacts {
  /** What clients see and states are kept under; see `limitName`. */
  readonly name: string;
  readonly kind: LimitKind;
  readonly unit: LimitUnit;
  /** Of a rate: in what time an empty bucket fills. */
  readonly windowMs?: number;
  /** Of a quota. */
  readonly period?: PeriodName;
}

const MINUTE_MS = 60_000;

/** Every limit that a plan can set, by its key in the configuration. */
export const LIMITS = {
  requestsPerMinute: { name: 'requests-per-minute', kind: 'rate', unit: 'requests', windowMs: MINUTE_MS },
  tokensPerMinute: { name: 'tokens-per-minute', kind: 'rate', unit: 'tokens', windowMs: MINUTE_MS },
  tokensPerDay: { name: 'tokens-per-day', kind: 'quota', unit: 'tokens', period: 'day' },
  tokensPerMonth: { name: 'tokens-per-month', kind: 'quota', unit: 'tokens', period: 'month' },
  concurrentJobs: { name: 'concurrent-jobs', kind: 'inFlight', unit: 'requests' },
  tokensInFlight: { name: 'tokens-in-flight', kind: 'inFlight', unit: 'tokens' },
  moneyPerMonth: { name: 'money-per-month', kind: 'quota', unit: 'nanoUsd', period: 'month' },
} as const satisfies Readonly<Record<keyof LimitSet, LimitFacts>>;
export type LimitKey = keyof typeof LIMITS;
export const LIMIT_KEYS = Object.keys(LIMITS) as readonly LimitKey[];

const PREFIXES: Readonly<Record<LimitScope, string>> = { tenant: '', apiKey: 'api-key:', model: 'model:' };

/** The name of a limit within its scope: `tokens-per-minute`, `api-key:tokens-per-minute`, `model:tokens-per-minute`. */
export function limitName(scope: LimitScope, key: LimitKey): string {
  return PREFIXES[scope] + LIMITS[key].name;
}

/** A limit of a set in one form, however it was written. */
export interface LimitRule {
  readonly key: LimitKey;
  /** In the limit's unit, from 1. */
  readonly max: number;
  /** Soft limits refuse nothing; they are counted and alerted on. */
  readonly soft: boolean;
  /** Percentages of `max` at which an alert is raised, ascending; none for limits that are not quotas. */
  readonly alertAtPercent: readonly number[];
}

/** The rules of a set in the order of `LIMITS`. */
export function rulesOf(set: LimitSet): readonly LimitRule[] {
  return LIMIT_KEYS.flatMap((key): LimitRule[] => {
    const value = set[key];
    if (value === undefined) return [];
    if (typeof value === 'number') return [{ key, max: value, soft: false, alertAtPercent: [] }];
    return [{ key, max: value.max, soft: value.soft, alertAtPercent: value.alertAtPercent }];
  });
}
