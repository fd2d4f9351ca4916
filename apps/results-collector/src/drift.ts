import { jobIdTimeMs, totalTokens, type LimitScope, type LimitUnit } from '@sluice/contracts';
import type { StoredHold, StoredLimit, TenantState } from '@sluice/quota';
import type { Measure, QuotaFacts, TerminalFact } from '@sluice/store';
import { redisNanoUsd, type TerminalRecord } from './settlement.js';

/** What Redis and PostgreSQL said of a tenant, in the order in which they were asked. */
export interface Observation {
  /** Redis, first. */
  readonly before: TenantState;
  /** When that was (Unix milliseconds). */
  readonly beganAtMs: number;
  /** PostgreSQL, of the jobs held in `before`. */
  readonly endedBefore: ReadonlyMap<string, TerminalFact>;
  /** PostgreSQL: use by `measures`, and the open jobs, in one snapshot. */
  readonly measures: readonly Measure[];
  readonly facts: QuotaFacts;
  /** Redis again. */
  readonly after: TenantState;
  /** PostgreSQL, of the jobs held in `after` that are not open in `facts`. */
  readonly endedAfter: ReadonlyMap<string, TerminalFact>;
}

/** How far Redis is from the books on one limit. */
export interface LimitDrift {
  readonly scope: LimitScope;
  readonly subject: string;
  readonly limit: string;
  /** In the limit's unit: above 0 when Redis counts too much, below when too little. Never 0. */
  readonly distance: number;
}

export interface TenantDrift {
  readonly limits: readonly LimitDrift[];
  /** Jobs that are open in the books and not held. */
  readonly missing: readonly string[];
  /**
   * Jobs that had ended in the books and are still held. n.b. for a moment that is right: books come first. Where it is
   * said, also jobs that are held and will never be in the books.
   */
  readonly leaked: readonly string[];
}

/**
 * The measures that a tenant's quotas are compared by. Rates are left out, they forget by the millisecond; so are
 * periods that are over or are just about to be, whose counters may be gone any moment.
 */
export function measuresOf({ limits }: TenantState, nowMs: number): readonly Measure[] {
  const measures = new Map<string, Measure>();
  for (const { scope, unit, period } of limits) {
    if (period === undefined || period.endsAtMs <= nowMs) continue;
    const measure = measureOf(scope, unit, period);
    measures.set(keyOf(measure), measure);
  }
  return [...measures.values()];
}

/**
 * Compares what Redis counts with the books while both move. With
 *
 * - X = use of the jobs that had ended in the books at the snapshot and were not held any more `after`,
 *
 * every job in X was settled by then, and whatever was settled `before` is in X; so
 * `before.used ≤ X ≤ after.used` whatever the traffic. X is what is posted less what is still held of it. Which of the
 * holds had ended at the snapshot itself is not known for all: those of `endedBefore` had, those of `endedAfter` may have.
 */
export function driftOf(observation: Observation, graceMs: number): TenantDrift {
  const { before, after, facts, beganAtMs, endedBefore } = observation;
  const open = new Set(facts.openHolds.map(({ jobId }) => jobId));
  const isOld = (acceptedAtMs: number): boolean => acceptedAtMs < beganAtMs - graceMs;
  return {
    limits: before.limits.flatMap((state) => limitDrift(state, observation, open) ?? []),
    missing: facts.openHolds
      .filter(({ jobId, acceptedAtMs }) => isOld(acceptedAtMs) && !before.holds.has(jobId) && !after.holds.has(jobId))
      .map(({ jobId }) => jobId),
    leaked: [...before.holds.keys()].filter((jobId) => after.holds.has(jobId) && isEnd(endedBefore.get(jobId))),
  };
}

/**
 * Jobs that were held all the time, since more than `graceMs`, and that the books do not know: their facts are on their
 * way, or their gateway died before it published them.
 */
export function unknownHolds(observation: Observation, graceMs: number): readonly string[] {
  const { before, after, facts, endedBefore, endedAfter, beganAtMs } = observation;
  const open = new Set(facts.openHolds.map(({ jobId }) => jobId));
  return [...before.holds]
    .filter(([jobId, { acceptedAtMs }]) => acceptedAtMs < beganAtMs - graceMs && after.holds.has(jobId))
    .map(([jobId]) => jobId)
    .filter((jobId) => !open.has(jobId) && !endedBefore.has(jobId) && !endedAfter.has(jobId));
}

function limitDrift(state: StoredLimit, observation: Observation, open: ReadonlySet<string>): LimitDrift | undefined {
  const later = observation.after.limits.find((other) => isSame(state, other));
  if (later === undefined) return undefined;
  const distance = usedDrift(state, later, observation, open) || heldDrift(later, observation.after);
  return distance === 0 ? undefined : { scope: state.scope, subject: state.subject, limit: state.name, distance };
}

/** How far the use of a quota is from the books; see `driftOf`. */
function usedDrift(
  state: StoredLimit,
  later: StoredLimit,
  observation: Observation,
  open: ReadonlySet<string>,
): number {
  const posted = postedOf(state, observation);
  // n.b. within a period use only grows: less means that the tenant was loaded in between.
  if (posted === undefined || later.used < state.used) return 0;
  const holds = [...observation.after.holds].filter(([jobId, hold]) => counts(state, hold, jobIdTimeMs(jobId)));
  const sum = (ended: Observation['endedBefore']): number =>
    holds.reduce((total, [jobId]) => total + (open.has(jobId) ? 0 : useOf(state.unit, ended.get(jobId))), 0);
  const most = posted - sum(observation.endedBefore);
  const least = posted - sum(observation.endedAfter);
  return Math.max(0, state.used - most) || Math.min(0, later.used - least);
}

/** How far what a limit holds is from the sum of the holds, which are read at the same moment. */
function heldDrift(state: StoredLimit, { holds }: TenantState): number {
  if (state.kind === 'rate') return 0;
  const sum = [...holds.values()]
    .filter((hold) => counts(state, hold, hold.acceptedAtMs))
    .reduce((total, { amounts }) => total + (state.unit === 'requests' ? 1 : amounts[state.unit]), 0);
  return state.held - sum;
}

function postedOf({ scope, unit, period, subject }: StoredLimit, { measures, facts }: Observation): number | undefined {
  if (period === undefined) return undefined;
  const key = keyOf(measureOf(scope, unit, period));
  const index = measures.findIndex((measure) => keyOf(measure) === key);
  if (index === -1) return undefined;
  return facts.amounts.find((amount) => amount.measure === index && amount.subject === subject)?.used ?? 0;
}

function isSame(a: StoredLimit, b: StoredLimit): boolean {
  return a.scope === b.scope && a.subject === b.subject && a.name === b.name && a.period?.id === b.period?.id;
}

/** Whether a limit counts a job that was accepted at `atMs`; n.b. the books date a job by its id. */
function counts({ scope, subject, period }: StoredLimit, hold: StoredHold, atMs: number): boolean {
  if (scope === 'apiKey' && hold.apiKeyId !== subject) return false;
  if (scope === 'model' && hold.model !== subject) return false;
  return period === undefined || (atMs >= period.sinceMs && atMs < period.endsAtMs);
}

function useOf(unit: LimitUnit, fact: TerminalFact | undefined): number {
  if (!isEnd(fact)) return 0;
  switch (unit) {
    case 'requests':
      return 1;
    case 'tokens':
      return totalTokens(fact.usage);
    case 'nanoUsd':
      return redisNanoUsd(fact.amountNanoUsd);
    default:
      return unit satisfies never;
  }
}

function isEnd(fact: TerminalFact | undefined): fact is TerminalRecord {
  return fact !== undefined && fact !== 'open';
}

function measureOf(scope: LimitScope, unit: LimitUnit, period: NonNullable<StoredLimit['period']>): Measure {
  return { scope, unit, window: { kind: 'period', fromMs: period.sinceMs, toMs: period.endsAtMs } };
}

function keyOf(measure: Measure): string {
  return JSON.stringify(measure);
}
