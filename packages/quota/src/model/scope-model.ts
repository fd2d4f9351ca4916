import { definitionsOf } from '../definitions.js';
import type { Limit } from '../limits.js';
import type { Amounts, Posted } from '../quota.js';
import {
  amountOf,
  atLeastZero,
  divideUp,
  refilled,
  rescaled,
  timeFrom,
  UNUSED,
  windowOf,
  type LimitState,
} from './limit-state.js';

/** The limits of one subject; never changed, only replaced. */
export interface ScopeState {
  /** Of the limits that the last caller named. */
  readonly version: number;
  readonly atMs: number;
  /** When the first period ends. */
  readonly turnsAtMs: number;
  /** Those that the last caller named, in its order, and then the others. */
  readonly limits: ReadonlyMap<string, LimitState>;
}

/** A scope as the records have it; `stage` says of which moment it is. */
export function openScope(limits: readonly Limit[], stateOf: (limit: Limit) => LimitState): ScopeState {
  return scopeOf(limits, new Map(limits.map((limit) => [limit.name, stateOf(limit)])), 0);
}

function scopeOf(named: readonly Limit[], limits: ReadonlyMap<string, LimitState>, atMs: number): ScopeState {
  let turnsAtMs = Infinity;
  for (const { limit, endsAtMs } of limits.values())
    if (limit.kind === 'quota') turnsAtMs = Math.min(turnsAtMs, endsAtMs);
  return { version: definitionsOf(named).version, atMs, turnsAtMs, limits };
}

/** Whether a caller has to tell its limits before it may reserve. */
export function needsDefinitions(scope: ScopeState | undefined, limits: readonly Limit[], nowMs: number): boolean {
  return !scope || scope.version !== definitionsOf(limits).version || nowMs >= scope.turnsAtMs;
}

/** Whether a period has not begun: Redis' clock was set back. */
export function isEarly({ atMs, limits }: ScopeState, clockMs: number): boolean {
  const nowMs = timeFrom(atMs, clockMs);
  return [...limits.values()].some(({ limit, sinceMs }) => limit.kind === 'quota' && sinceMs > nowMs);
}

/** Whether a state is of this very limit, whatever its maximum. */
export function isOf(state: LimitState | undefined, { kind, unit }: Limit): state is LimitState {
  return state?.limit.kind === kind && state.limit.unit === unit;
}

export interface Adopted {
  readonly scope: ScopeState;
  /** Milliseconds until the caller's periods have begun. */
  readonly aheadMs: number;
}

/**
 * The scope under the caller's limits, refilled and in the periods of `nowMs`. Undefined when a limit is not known.
 * Throws when neither of the caller's periods is current.
 */
export function adopt(
  old: ScopeState | undefined,
  { limits, cover, nowMs }: { limits: readonly Limit[]; cover: ReadonlySet<string>; nowMs: number },
): Adopted | undefined {
  const states = new Map<string, LimitState>();
  const elapsedMs = old ? nowMs - old.atMs : 0;
  let aheadMs = 0;
  for (const limit of limits) {
    const state = old?.limits.get(limit.name);
    if (old ? !isOf(state, limit) : !cover.has(limit.name)) return undefined;
    const adopted = underRule(state, limit, elapsedMs, nowMs);
    states.set(limit.name, adopted);
    const hasTurned = adopted.periodId !== (state?.periodId ?? '');
    if (hasTurned) aheadMs = Math.max(aheadMs, adopted.sinceMs - nowMs);
  }
  for (const [name, state] of old?.limits ?? []) {
    if (states.has(name) || (state.limit.kind === 'quota' && nowMs >= state.endsAtMs)) continue;
    states.set(name, { ...state, limit: { ...state.limit, soft: true }, lack: refilled(state, elapsedMs) });
  }
  return { scope: scopeOf(limits, states, nowMs), aheadMs };
}

/** A period has turned when `nowMs` is past the end that is stored, whatever the caller says. */
function underRule(state: LimitState | undefined, limit: Limit, elapsedMs: number, nowMs: number): LimitState {
  if (!state && !limit.period) return { ...UNUSED, limit };
  if (state && limit.kind === 'rate') {
    return { ...state, limit, lack: rescaled(refilled(state, elapsedMs), state.limit, limit) };
  }
  const { period } = limit;
  if (state && (!period || nowMs < state.endsAtMs)) return { ...state, limit };
  if (!period || nowMs >= period.nextEndsAtMs) throw new Error('the periods of the caller are over');
  const isFirst = nowMs < period.endsAtMs;
  const sinceMs = isFirst ? period.startsAtMs : period.endsAtMs;
  const [periodId, endsAtMs] = isFirst ? [period.id, period.endsAtMs] : [period.nextId, period.nextEndsAtMs];
  if (state?.periodId === periodId) return { ...state, limit, endsAtMs };
  // n.b. later than now when the caller's clock is ahead: what is admitted then is stale.
  return { ...UNUSED, limit, periodId, endsAtMs, sinceMs: Math.max(sinceMs, state?.endsAtMs ?? 0) };
}

/** The scope with a job in it. */
export function taken(scope: ScopeState, amounts: Amounts, nowMs: number): ScopeState {
  const limits = new Map<string, LimitState>();
  for (const [name, state] of scope.limits) {
    const amount = amountOf(state.limit.unit, amounts, 1n);
    const lack = refilled(state, nowMs - scope.atMs) + amount * windowOf(state.limit);
    limits.set(name, state.limit.kind === 'rate' ? { ...state, lack } : { ...state, held: state.held + amount });
  }
  return { ...scope, atMs: nowMs, limits };
}

/**
 * Milliseconds until a job may be dated into the period of each quota: 0 = it is. 'early' when such a period has not
 * begun by Redis' clock.
 */
export function staleFor({ limits }: ScopeState, madeAtMs: number, nowMs: number): number | 'early' {
  let staleMs = 0;
  for (const { limit, sinceMs, endsAtMs } of limits.values()) {
    if (limit.kind !== 'quota' || (sinceMs <= madeAtMs && madeAtMs < endsAtMs)) continue;
    if (nowMs < sinceMs) return 'early';
    staleMs = Math.max(staleMs, madeAtMs < sinceMs ? sinceMs - madeAtMs : endsAtMs - nowMs);
  }
  return staleMs;
}

/**
 * Milliseconds until there is room for a job, given the state with the job in it: 0 = now, Infinity = never.
 * `firstExpiryMs`: when the hold that expires first does.
 */
export function clearsIn(state: LimitState, amounts: Amounts, nowMs: number, firstExpiryMs: number): number {
  const { limit, lack, held, used } = state;
  const max = BigInt(limit.max);
  const missing = limit.kind === 'rate' ? lack - max * windowOf(limit) : used + held - max;
  if (limit.soft || missing <= 0n) return 0;
  if (amountOf(limit.unit, amounts, 1n) > max) return Infinity;
  if (limit.kind === 'rate') return Number(divideUp(missing, max));
  return limit.kind === 'quota' ? state.endsAtMs - nowMs : Math.max(1, firstExpiryMs - nowMs);
}

/** What a hold that ends leaves in a scope. */
export interface HoldEnd {
  readonly held: Amounts;
  readonly used: Amounts;
  /** 1, or 0 for a job that used nothing at all. */
  readonly requests: bigint;
  readonly madeAtMs: number;
}

/** The scope without the hold: what was held goes back, what was used is booked, however much it is. */
export function ended(scope: ScopeState, { held, used, requests, madeAtMs }: HoldEnd, clockMs: number): ScopeState {
  const nowMs = timeFrom(scope.atMs, clockMs);
  const limits = new Map<string, LimitState>();
  for (const [name, state] of scope.limits) {
    const { limit } = state;
    const [was, is] = [amountOf(limit.unit, held, 1n), amountOf(limit.unit, used, requests)];
    if (limit.kind === 'rate') {
      const lack = refilled(state, nowMs - scope.atMs) + (is - was) * windowOf(limit);
      limits.set(name, { ...state, lack: atLeastZero(lack) });
    } else if (limit.kind === 'inFlight') {
      limits.set(name, { ...state, held: state.held - was });
    } else if (madeAtMs >= state.sinceMs) {
      const booked = { used: state.used + is, overage: state.overage + atLeastZero(is - was) };
      limits.set(name, { ...state, held: state.held - was, ...booked });
    } else limits.set(name, state);
  }
  return { ...scope, atMs: nowMs, limits };
}

/** What the records say of one limit. */
export function recorded(limit: Limit, posted: Posted | undefined, held: bigint): LimitState {
  const { kind, period } = limit;
  const [used, overage] = [BigInt(posted?.used ?? 0), BigInt(posted?.overage ?? 0)];
  if (kind === 'rate') return { ...UNUSED, limit, lack: used * windowOf(limit) };
  if (!period) return { ...UNUSED, limit, held };
  const { id: periodId, startsAtMs: sinceMs, endsAtMs } = period;
  return { ...UNUSED, limit, periodId, sinceMs, endsAtMs, held, used, overage };
}
