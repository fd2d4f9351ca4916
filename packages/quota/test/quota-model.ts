import type { JobSnapshot, Limit, OpenHold } from '../src/index.js';

/**
 * What the scripts should do, in plain TypeScript with bigint for every product. The clock is an argument: the tests
 * pass the time at which Redis says it ran the script.
 */
export interface RateState {
  readonly kind: 'rate';
  readonly max: bigint;
  readonly windowMs: bigint;
  readonly credit: bigint;
  readonly atMs: number;
}
export interface QuotaState {
  readonly kind: 'quota';
  readonly periodId: string;
  readonly endsAtMs: number;
  readonly held: bigint;
  readonly used: bigint;
  readonly overage: bigint;
}
export type LimitState = RateState | QuotaState;

export interface Take {
  readonly limit: string;
  readonly kind: Limit['kind'];
  readonly amount: bigint;
  readonly periodId: string | undefined;
}
export interface ModelHold {
  owner: string;
  readonly key: string;
  readonly takes: Take[];
  readonly expiresAtMs: number;
}

export interface TenantModel {
  loaded: boolean;
  readonly limits: Map<string, LimitState>;
  readonly holds: Map<string, ModelHold>;
  readonly snapshots: Map<string, JobSnapshot>;
  readonly keys: Map<string, { readonly jobId: string; readonly fingerprint: string }>;
}

export function emptyTenant(): TenantModel {
  return { loaded: false, limits: new Map(), holds: new Map(), snapshots: new Map(), keys: new Map() };
}

/** Thrown when neither of the caller's periods is the current one. */
export class PeriodsOver extends Error {}

const least = (a: bigint, b: bigint) => (a < b ? a : b);
const atLeastZero = (a: bigint) => (a > 0n ? a : 0n);
const divideUp = (a: bigint, b: bigint) => (a <= 0n ? -(-a / b) : (a + b - 1n) / b);
const divideDown = (a: bigint, b: bigint) => (a >= 0n ? a / b : -((-a + b - 1n) / b));

export function fullRate(limit: Limit, nowMs: number, posted = 0): RateState {
  const [max, windowMs] = [BigInt(limit.max), BigInt(limit.windowMs ?? 0)];
  return { kind: 'rate', max, windowMs, credit: (max - BigInt(posted)) * windowMs, atMs: nowMs };
}

function refilled(state: RateState, nowMs: number): RateState {
  const elapsed = BigInt(Math.max(0, nowMs - state.atMs));
  const credit = least(state.max * state.windowMs, state.credit + elapsed * state.max);
  return { ...state, credit, atMs: Math.max(state.atMs, nowMs) };
}

/** A limit's state at `nowMs` under the caller's rule; undefined when it is unknown. */
export function advanced(state: LimitState | undefined, limit: Limit, nowMs: number): LimitState | undefined {
  if (state?.kind !== limit.kind) return undefined;
  if (state.kind === 'rate') {
    const now = refilled(state, nowMs);
    const next = fullRate(limit, now.atMs);
    const whole = next.windowMs === now.windowMs ? now.credit : divideDown(now.credit, now.windowMs) * next.windowMs;
    return { ...next, credit: least(whole, next.credit) };
  }
  const { period } = limit;
  if (nowMs < state.endsAtMs || !period) return state;
  if (nowMs >= period.nextEndsAtMs) throw new PeriodsOver();
  const [periodId, endsAtMs] =
    nowMs < period.endsAtMs ? [period.id, period.endsAtMs] : [period.nextId, period.nextEndsAtMs];
  const zero = { held: 0n, used: 0n, overage: 0n };
  return { ...state, ...(periodId === state.periodId ? {} : zero), periodId, endsAtMs };
}

export function taken(state: LimitState, amount: bigint): LimitState {
  if (state.kind === 'rate') return { ...state, credit: state.credit - amount * state.windowMs };
  return { ...state, held: state.held + amount };
}

/** Milliseconds until `cost` fits: 0 = now, undefined = never. */
export function clearsIn(state: LimitState, limit: Limit, cost: bigint, nowMs: number): number | undefined {
  if (cost > BigInt(limit.max)) return undefined;
  if (state.kind === 'rate') {
    return Number(divideUp(atLeastZero(cost * state.windowMs - state.credit), state.max));
  }
  return state.used + state.held + cost <= BigInt(limit.max) ? 0 : state.endsAtMs - nowMs;
}

/** Ends a hold: each limit gets back what was not used. */
export function endHold(tenant: TenantModel, jobId: string, used: bigint, nowMs: number): void {
  for (const take of tenant.holds.get(jobId)?.takes ?? []) {
    const state = tenant.limits.get(take.limit);
    if (state?.kind === 'rate' && take.kind === 'rate') {
      const now = refilled(state, nowMs);
      const credit = now.credit + (take.amount - used) * now.windowMs;
      tenant.limits.set(take.limit, { ...now, credit: least(credit, now.max * now.windowMs) });
    }
    if (state?.kind === 'quota' && state.periodId === take.periodId) {
      tenant.limits.set(take.limit, {
        ...state,
        held: state.held - take.amount,
        used: state.used + used,
        overage: state.overage + atLeastZero(used - take.amount),
      });
    }
  }
  tenant.holds.delete(jobId);
}

/** What `load` does; false when the facts are of another period. */
export function load(
  tenant: TenantModel,
  facts: { limits: readonly Limit[]; posted: Readonly<Record<string, number>>; openHolds: readonly OpenHold[] },
  nowMs: number,
): boolean {
  const added = facts.limits.filter(({ name, kind }) => !tenant.loaded || tenant.limits.get(name)?.kind !== kind);
  if (added.some(({ period }) => period && (nowMs < period.startsAtMs || nowMs >= period.endsAtMs))) return false;
  for (const limit of added) {
    const { name, period } = limit;
    const zero = { held: 0n, used: BigInt(facts.posted[name] ?? 0), overage: 0n };
    const quota = { kind: 'quota' as const, periodId: period?.id ?? '', endsAtMs: period?.endsAtMs ?? 0, ...zero };
    tenant.limits.set(name, period ? quota : fullRate(limit, nowMs, facts.posted[name]));
  }
  for (const { jobId, tokens, acceptedAtMs, expiresAtMs } of facts.openHolds) {
    const known = tenant.holds.get(jobId);
    if (tenant.loaded && !known) continue;
    const hold = known ?? { owner: '', key: '', takes: [], expiresAtMs };
    tenant.holds.set(jobId, hold);
    for (const { name, kind, period, windowMs } of added) {
      const state = tenant.limits.get(name);
      if (!state || acceptedAtMs < (period ? period.startsAtMs : nowMs - (windowMs ?? 0))) continue;
      tenant.limits.set(name, taken(state, BigInt(tokens)));
      hold.takes.push({ limit: name, kind, amount: BigInt(tokens), periodId: period?.id });
    }
  }
  tenant.loaded = true;
  return true;
}

/** The text Redis should keep for a state. */
export function storedText(state: LimitState): string {
  return state.kind === 'rate'
    ? `rate ${state.max} ${state.windowMs} ${state.credit} ${state.atMs}`
    : `quota ${state.periodId} ${state.endsAtMs} ${state.held} ${state.used} ${state.overage}`;
}

/** What a caller should be told of a state. */
export function statusOf(state: LimitState, limit: Limit, nowMs: number) {
  const { name, kind, max } = limit;
  if (state.kind === 'rate') {
    const left = divideDown(state.credit, state.windowMs);
    const resetsInMs = Number(divideUp(state.max * state.windowMs - state.credit, state.max));
    const used = Number(atLeastZero(BigInt(max) - left));
    return { name, kind, max, used, held: 0, overage: 0, remaining: Number(atLeastZero(left)), resetsInMs };
  }
  const [used, held, overage] = [Number(state.used), Number(state.held), Number(state.overage)];
  const remaining = Number(atLeastZero(BigInt(max) - state.used - state.held));
  return { name, kind, max, used, held, overage, remaining, resetsInMs: state.endsAtMs - nowMs };
}
