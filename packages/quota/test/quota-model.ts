import type { LimitUnit } from '@sluice/contracts';
import type {
  Amounts,
  JobSnapshot,
  Limit,
  LimitStatus,
  LoadedKey,
  LoadedKeys,
  OpenHold,
  Posted,
  ScopedLimits,
} from '../src/index.js';

/**
 * What the scripts should do, in plain TypeScript with bigint for every product. The clock is an argument: the tests
 * pass the time at which Redis says it ran the script.
 */
export interface LimitState {
  readonly limit: Limit;
  /** Rate: units × window that the bucket lacks at the scope's `atMs`. */
  readonly lack: bigint;
  readonly periodId: string;
  readonly sinceMs: number;
  readonly endsAtMs: number;
  readonly held: bigint;
  readonly used: bigint;
  readonly overage: bigint;
}

export interface ScopeState {
  readonly atMs: number;
  readonly limits: ReadonlyMap<string, LimitState>;
}

export interface ModelHold {
  owner: string;
  readonly key: string;
  readonly apiKeyId: string;
  readonly model: string;
  readonly amounts: Amounts;
  readonly madeAtMs: number;
  readonly expiresAtMs: number;
}

export interface TenantModel {
  loaded: boolean;
  cover: ReadonlySet<string>;
  scopes: Map<string, ScopeState>;
  holds: Map<string, ModelHold>;
  /** Of the load under way; undefined when there is none. */
  load: { readonly token: string; readonly notes: Map<string, Amounts>; aliveUntilMs: number } | undefined;
  readonly snapshots: Map<string, JobSnapshot>;
  readonly keys: Map<string, { readonly jobId: string; readonly fingerprint: string }>;
  /** Every key of a job accepted since then is in `keys`. */
  keysSinceMs: number;
}

export function emptyTenant(): TenantModel {
  return {
    ...{ loaded: false, cover: new Set<string>(), scopes: new Map(), holds: new Map(), load: undefined },
    ...{ snapshots: new Map(), keys: new Map(), keysSinceMs: 0 },
  };
}

/** Thrown when neither of the caller's periods is the current one. */
export class PeriodsOver extends Error {}

const atLeastZero = (a: bigint) => (a > 0n ? a : 0n);
const divideUp = (a: bigint, b: bigint) => (a <= 0n ? -(-a / b) : (a + b - 1n) / b);
const unused = { lack: 0n, periodId: '', sinceMs: 0, endsAtMs: 0, held: 0n, used: 0n, overage: 0n };

export function fieldOf({ scope, subject }: Pick<ScopedLimits, 'scope' | 'subject'>): string {
  return scope === 'tenant' ? 't' : `${scope === 'apiKey' ? 'k' : 'm'}:${subject}`;
}

function amountOf(unit: LimitUnit, { tokens, nanoUsd }: Amounts, requests: bigint): bigint {
  return unit === 'requests' ? requests : BigInt(unit === 'tokens' ? tokens : nanoUsd);
}

function refilled({ limit, lack }: LimitState, elapsedMs: number): bigint {
  return limit.kind === 'rate' ? atLeastZero(lack - BigInt(elapsedMs) * BigInt(limit.max)) : 0n;
}

/** The state under the caller's rule; its period has turned when `nowMs` is past the end that is stored. */
function adopted(state: LimitState | undefined, limit: Limit, elapsedMs: number, nowMs: number): LimitState {
  const known = state ?? { ...unused, limit };
  if (limit.kind === 'rate') {
    const [was, is] = [BigInt(known.limit.windowMs ?? 1), BigInt(limit.windowMs ?? 1)];
    const lack = refilled(known, elapsedMs);
    return { ...known, limit, lack: was === is ? lack : divideUp(lack, was) * is };
  }
  const { period } = limit;
  if (!period || (state && nowMs < state.endsAtMs)) return { ...known, limit };
  if (nowMs >= period.nextEndsAtMs) throw new PeriodsOver();
  const isFirst = nowMs < period.endsAtMs;
  const sinceMs = isFirst ? period.startsAtMs : period.endsAtMs;
  const [periodId, endsAtMs] = isFirst ? [period.id, period.endsAtMs] : [period.nextId, period.nextEndsAtMs];
  if (state?.periodId === periodId) return { ...state, limit, endsAtMs };
  // n.b. later than now when the caller's clock is ahead: what is admitted then is stale.
  return { ...unused, limit, periodId, endsAtMs, sinceMs: Math.max(sinceMs, state?.endsAtMs ?? 0) };
}

/** A scope at `nowMs` with the caller's limits, and those that the caller does not name; undefined when unknown. */
export function advanced(tenant: TenantModel, scoped: ScopedLimits, nowMs: number): ScopeState | undefined {
  const scope = tenant.scopes.get(fieldOf(scoped));
  const limits = new Map<string, LimitState>();
  const elapsedMs = scope ? Math.max(0, nowMs - scope.atMs) : 0;
  for (const limit of scoped.limits) {
    const state = scope?.limits.get(limit.name);
    if (scope ? !state : !tenant.cover.has(limit.name)) return undefined;
    limits.set(limit.name, adopted(state, limit, elapsedMs, nowMs));
  }
  for (const [name, state] of scope?.limits ?? []) {
    if (limits.has(name) || (state.limit.period && nowMs >= state.endsAtMs)) continue;
    limits.set(name, { ...state, limit: { ...state.limit, soft: true }, lack: refilled(state, elapsedMs) });
  }
  return { atMs: nowMs, limits };
}

/** Whether each of these limits has a state, or none because it is unused. */
export function knows(tenant: TenantModel, scopes: readonly ScopedLimits[]): boolean {
  return scopes.every((scoped) => {
    const scope = tenant.scopes.get(fieldOf(scoped));
    return scoped.limits.every(({ name }) => (scope ? scope.limits.has(name) : tenant.cover.has(name)));
  });
}

export function taken(scope: ScopeState, amounts: Amounts): ScopeState {
  const limits = [...scope.limits].map(([name, state]): [string, LimitState] => {
    const amount = amountOf(state.limit.unit, amounts, 1n);
    const isRate = state.limit.kind === 'rate';
    const lack = isRate ? state.lack + amount * BigInt(state.limit.windowMs ?? 1) : 0n;
    return [name, { ...state, lack, held: isRate ? 0n : state.held + amount }];
  });
  return { ...scope, limits: new Map(limits) };
}

/** Milliseconds until a job may be dated into the period of each quota: 0 = it is. */
export function staleFor(states: readonly LimitState[], madeAtMs: number, nowMs: number): number {
  const waits = states.map(({ limit, sinceMs, endsAtMs }) => {
    if (!limit.period || (sinceMs <= madeAtMs && madeAtMs < endsAtMs)) return 0;
    return madeAtMs < sinceMs ? sinceMs - madeAtMs : endsAtMs - nowMs;
  });
  return Math.max(0, ...waits);
}

/** Milliseconds until a job fits: 0 = now, undefined = never. */
export function clearsIn(state: LimitState, amounts: Amounts, nowMs: number, firstExpiryMs: number) {
  const { limit, lack, held, used } = state;
  const [cost, max] = [amountOf(limit.unit, amounts, 1n), BigInt(limit.max)];
  if (limit.soft) return 0;
  if (cost > max) return undefined;
  const windowMs = BigInt(limit.windowMs ?? 1);
  if (limit.kind === 'rate') return Number(divideUp(atLeastZero(lack + cost * windowMs - max * windowMs), max));
  if (used + held + cost <= max) return 0;
  return limit.kind === 'quota' ? state.endsAtMs - nowMs : Math.max(1, firstExpiryMs - nowMs);
}

/** Ends a hold: each limit of its scopes gets back what was not used. `requests`: 1, or 0 for a release. */
export function endHold(tenant: TenantModel, jobId: string, used: Amounts, requests: bigint, nowMs: number): void {
  const hold = tenant.holds.get(jobId);
  tenant.holds.delete(jobId);
  if (!hold) return;
  for (const field of ['t', `k:${hold.apiKeyId}`, `m:${hold.model}`]) {
    const scope = tenant.scopes.get(field);
    if (!scope || scope.limits.size === 0) continue;
    const limits = [...scope.limits].map(([name, state]): [string, LimitState] => {
      const { limit } = state;
      const [was, is] = [amountOf(limit.unit, hold.amounts, 1n), amountOf(limit.unit, used, requests)];
      const lack = atLeastZero(
        refilled(state, Math.max(0, nowMs - scope.atMs)) + (is - was) * BigInt(limit.windowMs ?? 1),
      );
      if (limit.kind === 'rate') return [name, { ...state, lack }];
      if (limit.kind === 'inFlight') return [name, { ...state, held: state.held - was }];
      if (hold.madeAtMs < state.sinceMs) return [name, state];
      const booked = { used: state.used + is, overage: state.overage + atLeastZero(is - was) };
      return [name, { ...state, held: state.held - was, ...booked }];
    });
    tenant.scopes.set(field, { atMs: Math.max(scope.atMs, nowMs), limits: new Map(limits) });
  }
}

export interface Facts {
  readonly scopes: readonly ScopedLimits[];
  readonly cover: readonly string[];
  readonly posted: readonly Posted[];
  readonly openHolds: readonly OpenHold[];
  readonly keys?: LoadedKeys;
}

/** What a load does with keys, superseded or not. */
export function restoreKeys({ keys }: TenantModel, entries: readonly LoadedKey[]): void {
  for (const { keyHash, jobId, fingerprint } of entries) {
    if (!keys.has(keyHash)) keys.set(keyHash, { jobId, fingerprint });
  }
}

/** What a load that was not superseded does; false when the facts are of another period. `stagedAtMs`: see `atMs`. */
export function load(tenant: TenantModel, facts: Facts, stagedAtMs: number, nowMs: number): boolean {
  const periods = facts.scopes.flatMap(({ limits }) => limits.flatMap(({ period }) => period ?? []));
  if (periods.some(({ startsAtMs, endsAtMs }) => nowMs < startsAtMs || nowMs >= endsAtMs)) return false;
  const notes = tenant.load?.notes ?? new Map<string, Amounts>();
  tenant.scopes = new Map();
  const fields = facts.openHolds.flatMap(({ apiKeyId, model }) => ['t', `k:${apiKeyId}`, `m:${model}`]);
  for (const field of [...fields, ...facts.posted.map(fieldOf)]) {
    tenant.scopes.set(field, { atMs: stagedAtMs, limits: new Map() });
  }
  for (const scoped of facts.scopes) {
    const limits = scoped.limits.map((limit): [string, LimitState] => [limit.name, loaded(limit, scoped, facts)]);
    tenant.scopes.set(fieldOf(scoped), { atMs: stagedAtMs, limits: new Map(limits) });
  }
  tenant.holds = new Map(
    facts.openHolds.map(({ acceptedAtMs, jobId, ...hold }) => [
      jobId,
      { ...hold, owner: '', key: '', madeAtMs: acceptedAtMs },
    ]),
  );
  for (const [jobId, used] of notes) endHold(tenant, jobId, used, 1n, nowMs);
  const keysSinceMs = facts.keys?.sinceMs ?? nowMs;
  Object.assign(tenant, { loaded: true, cover: new Set(facts.cover), load: undefined, keysSinceMs });
  return true;
}

function loaded(limit: Limit, scoped: ScopedLimits, { posted, openHolds }: Facts): LimitState {
  const { name, kind, unit, period } = limit;
  const row = posted.find((one) => fieldOf(one) === fieldOf(scoped) && one.name === name);
  const own = openHolds.filter(
    ({ apiKeyId, model, acceptedAtMs }) =>
      ['t', `k:${apiKeyId}`, `m:${model}`].includes(fieldOf(scoped)) &&
      (kind === 'inFlight' || (period && acceptedAtMs >= period.startsAtMs)),
  );
  const held = own.reduce((sum, { amounts }) => sum + amountOf(unit, amounts, 1n), 0n);
  const state = { ...unused, limit, held };
  if (kind === 'rate') return { ...state, lack: BigInt(row?.used ?? 0) * BigInt(limit.windowMs ?? 1) };
  if (!period) return state;
  const { id: periodId, startsAtMs: sinceMs, endsAtMs } = period;
  return { ...state, periodId, sinceMs, endsAtMs, used: BigInt(row?.used ?? 0), overage: BigInt(row?.overage ?? 0) };
}

/** What a caller should be told of a state. */
export function statusOf(
  state: LimitState,
  { scope, subject }: ScopedLimits,
  limit: Limit,
  nowMs: number,
): LimitStatus {
  const { name, kind, unit, max, soft = false } = limit;
  const facts = { name, scope, subject, kind, unit, max, soft };
  if (kind === 'rate') {
    const used = Number(divideUp(state.lack, BigInt(limit.windowMs ?? 1)));
    const resetsInMs = Number(divideUp(state.lack, BigInt(max)));
    return { ...facts, used, held: 0, overage: 0, remaining: Math.max(0, max - used), resetsInMs };
  }
  const [used, held, overage] = [Number(state.used), Number(state.held), Number(state.overage)];
  const remaining = Math.max(0, max - used - held);
  return { ...facts, used, held, overage, remaining, resetsInMs: kind === 'quota' ? state.endsAtMs - nowMs : 0 };
}
