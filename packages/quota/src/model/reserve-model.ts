import { SNAPSHOT_MARGIN_MS } from '../bounds.js';
import { scopesOf } from '../definitions.js';
import type { Learned, Reservation } from '../quota.js';
import { readQuantile } from './histogram.js';
import { timeFrom } from './limit-state.js';
import { adopt, clearsIn, needsDefinitions, staleFor, taken, type ScopeState } from './scope-model.js';
import { alive, fieldsOf, type ModelHold, type TenantModel } from './tenant-model.js';

/** What a caller is shown: the scopes of tenant, API key and model, in this order. */
export interface View {
  readonly scopes: readonly ScopeState[];
  readonly learned?: Learned;
}

/** What the one command answers; `reserve` of the package is made of up to four commands. */
export type ReserveReply =
  | { readonly outcome: 'define' | 'not_loaded' | 'key_unknown' }
  | { readonly outcome: 'stale'; readonly clearsInMs: number }
  | { readonly outcome: 'conflict'; readonly jobId: string; readonly isHeld: boolean }
  | { readonly outcome: 'exists'; readonly jobId: string; readonly isHeld: boolean; readonly view: View }
  | { readonly outcome: 'refused'; readonly name: string; readonly clearsInMs: number; readonly view: View }
  | { readonly outcome: 'reserved'; readonly view: View };

interface Asked {
  readonly tenant: TenantModel;
  readonly reservation: Reservation;
  /** What Redis' clock shows, and the time that counts: see `timeFrom`. */
  readonly clockMs: number;
  readonly nowMs: number;
}

/** The scopes of a job as they would be used, and which of them are new. */
interface Ready {
  readonly scopes: readonly ScopeState[];
  readonly isNew: readonly boolean[];
}

/** Holds a job on every limit of its scopes or on none, when Redis' clock shows `clockMs`. */
export function reserveAt(
  tenant: TenantModel,
  reservation: Reservation,
  { clockMs, withDefinitions }: { readonly clockMs: number; readonly withDefinitions: boolean },
): ReserveReply {
  const kept = fieldsOf(reservation).map((field) => tenant.scopes.get(field));
  const nowMs = kept.reduce((now, scope) => (scope ? Math.max(now, timeFrom(scope.atMs, clockMs)) : now), clockMs);
  const asked = { tenant, reservation, clockMs, nowMs };
  const ready = prepare(asked, kept, withDefinitions);
  if ('outcome' in ready) return ready;
  return findTwin(asked, ready) ?? hold(asked, ready);
}

function prepare(
  { tenant, reservation, nowMs }: Asked,
  kept: readonly (ScopeState | undefined)[],
  withDefinitions: boolean,
): Ready | ReserveReply {
  const definitions = scopesOf(reservation.scopes, reservation);
  const scopes: ScopeState[] = [];
  const isNew: boolean[] = [];
  let aheadMs = 0;
  for (const [i, limits] of definitions.entries()) {
    const scope = kept[i];
    const isOld = needsDefinitions(scope, limits, nowMs);
    if (isOld && !withDefinitions) return { outcome: 'define' };
    const adopted = scope && !isOld ? { scope, aheadMs: 0 } : adopt(scope, { limits, cover: tenant.cover, nowMs });
    if (!adopted) return { outcome: 'not_loaded' };
    aheadMs = Math.max(aheadMs, adopted.aheadMs);
    scopes.push(adopted.scope);
    isNew.push(isOld);
  }
  return aheadMs > 0 ? { outcome: 'stale', clearsInMs: aheadMs } : { scopes, isNew };
}

/** The answer when the job, or one with its idempotency key, was here before or may have been. */
function findTwin(asked: Asked, { scopes }: Ready): ReserveReply | undefined {
  const { tenant, reservation, clockMs, nowMs } = asked;
  const { jobId, owner, idempotency } = reservation;
  const known = idempotency && alive(tenant.keys.get(idempotency.keyHash), clockMs);
  const same = known?.jobId ?? jobId;
  const held = tenant.holds.get(same);
  const isHeld = held !== undefined;
  if (known && known.fingerprint !== idempotency?.fingerprint) return { outcome: 'conflict', jobId: same, isHeld };
  if (held) {
    tenant.holds.set(same, { ...held, owner });
    if (same === jobId) noteJob(asked);
  }
  if (held || known) return { outcome: 'exists', jobId: same, isHeld, view: viewOf(asked, scopes) };
  if (!idempotency || idempotency.checked || nowMs - tenant.keysSinceMs >= idempotency.ttlMs) return undefined;
  return existing(asked, scopes) ?? { outcome: 'key_unknown' };
}

function hold(asked: Asked, { scopes, isNew }: Ready): ReserveReply {
  const { tenant, reservation, clockMs, nowMs } = asked;
  const { jobId, owner, apiKeyId, model, amounts, holdTtlMs, idempotency, learn = false } = reservation;
  const madeAtMs = reservation.acceptedAtMs ?? nowMs;
  const after = scopes.map((scope) => taken(scope, amounts, nowMs));
  const stale = after.map((scope) => staleFor(scope, madeAtMs, nowMs));
  // The ledger knows what the periods before a step of the clock have used.
  if (stale.includes('early')) return { outcome: 'not_loaded' };
  const staleMs = Math.max(...stale.map(Number));
  if (staleMs > 0) return { outcome: 'stale', clearsInMs: staleMs };

  const worst = lastToClear(asked, after);
  if (worst) return existing(asked, scopes) ?? { outcome: 'refused', ...worst, view: viewOf(asked, scopes) };
  if (!noteJob(asked)) return { outcome: 'exists', jobId, isHeld: true, view: viewOf(asked, scopes) };

  const shown = after.map((scope, i) => (isNew[i] || scope.limits.size > 0 ? scope : (scopes[i] ?? scope)));
  fieldsOf(reservation).forEach((field, i) => shown[i] && tenant.scopes.set(field, shown[i]));
  const held: ModelHold = {
    ...{ owner, keyHash: idempotency?.keyHash ?? '', apiKeyId, model, amounts },
    ...{ learns: learn, madeAtMs, expiresAtMs: nowMs + holdTtlMs },
  };
  tenant.holds.set(jobId, held);
  if (idempotency) {
    const { keyHash, fingerprint, ttlMs } = idempotency;
    tenant.keys.set(keyHash, { value: { jobId, fingerprint }, expiresAtMs: clockMs + ttlMs });
  }
  return { outcome: 'reserved', view: viewOf(asked, shown) };
}

/** The first of the limits that clear last; undefined when there is room everywhere. */
function lastToClear({ tenant, reservation, nowMs }: Asked, after: readonly ScopeState[]) {
  let worst: { name: string; clearsInMs: number } | undefined;
  let firstExpiryMs: number | undefined;
  for (const state of after.flatMap(({ limits }) => [...limits.values()])) {
    if (state.limit.kind === 'inFlight') firstExpiryMs ??= firstExpiry(tenant, nowMs);
    const clearsInMs = clearsIn(state, reservation.amounts, nowMs, firstExpiryMs ?? nowMs);
    if (clearsInMs > (worst?.clearsInMs ?? 0)) worst = { name: state.limit.name, clearsInMs };
  }
  return worst;
}

function firstExpiry({ holds }: TenantModel, nowMs: number): number {
  let firstMs = Infinity;
  for (const { expiresAtMs } of holds.values()) firstMs = Math.min(firstMs, expiresAtMs);
  return firstMs === Infinity ? nowMs : firstMs;
}

/** Notes the job as reserved; false when it is known. */
function noteJob({ tenant, reservation, clockMs }: Asked): boolean {
  const { jobId, facts, holdTtlMs, idempotency } = reservation;
  if (alive(tenant.jobs.get(jobId), clockMs)) return false;
  const expiresAtMs = clockMs + Math.max(holdTtlMs, idempotency?.ttlMs ?? 0) + SNAPSHOT_MARGIN_MS;
  tenant.jobs.set(jobId, { value: { state: 'reserved', facts }, expiresAtMs });
  return true;
}

/** The answer when the job itself is known though nothing is held for it. */
function existing(asked: Asked, scopes: readonly ScopeState[]): ReserveReply | undefined {
  const { tenant, reservation, clockMs } = asked;
  const { jobId } = reservation;
  if (!alive(tenant.jobs.get(jobId), clockMs)) return undefined;
  return { outcome: 'exists', jobId, isHeld: true, view: viewOf(asked, scopes) };
}

function viewOf({ tenant, reservation: { model, quantile } }: Asked, scopes: readonly ScopeState[]): View {
  const histogram = quantile === undefined ? undefined : tenant.learned.get(model);
  return { scopes, ...(histogram && quantile !== undefined && { learned: readQuantile(histogram, quantile) }) };
}
