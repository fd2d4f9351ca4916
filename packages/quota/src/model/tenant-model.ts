import type { Amounts, JobSnapshot } from '../quota.js';
import type { Histogram } from './histogram.js';
import { ended, type ScopeState } from './scope-model.js';

/** What Redis forgets by itself: gone when its clock has passed `expiresAtMs`. */
export interface Expiring<T> {
  readonly value: T;
  readonly expiresAtMs: number;
}

export interface ModelHold {
  readonly owner: string;
  /** Hash of the idempotency key; '' when there is none. */
  readonly keyHash: string;
  readonly apiKeyId: string;
  readonly model: string;
  readonly amounts: Amounts;
  readonly learns: boolean;
  readonly madeAtMs: number;
  readonly expiresAtMs: number;
}

export interface ModelKey {
  readonly jobId: string;
  readonly fingerprint: string;
}

/** A load under way. */
export interface UnderWay {
  /** Valid in the run of Redis in which it was given out. */
  readonly token: string;
  readonly run: number;
  readonly aliveUntilMs: number;
  /** What was settled since it began. */
  readonly notes: ReadonlyMap<string, Amounts>;
}

/** What becomes of scopes and holds when a load is committed. */
export interface Staged {
  readonly scopes: ReadonlyMap<string, ScopeState>;
  readonly holds: ReadonlyMap<string, ModelHold>;
}

/** All that is kept of a tenant. The values of its maps are never changed, only replaced. */
export interface TenantModel {
  /** The run of Redis in which it was loaded. */
  loadedIn: number | undefined;
  /** Every key of a job accepted since then is in `keys`. */
  keysSinceMs: number;
  cover: ReadonlySet<string>;
  scopes: Map<string, ScopeState>;
  holds: Map<string, ModelHold>;
  load: Expiring<UnderWay> | undefined;
  staged: Expiring<Staged> | undefined;
  readonly jobs: Map<string, Expiring<JobSnapshot>>;
  readonly keys: Map<string, Expiring<ModelKey>>;
  readonly learned: Map<string, Histogram>;
}

/** What the commands need to know of Redis; read anew by each of them. */
export interface Source {
  readonly tenant: (tenantId: string) => TenantModel;
  /** Whether the tenant was loaded in this very run of the process. */
  readonly isLoaded: (tenant: TenantModel) => boolean;
  readonly run: () => number;
}

export function emptyTenant(): TenantModel {
  return {
    ...{ loadedIn: undefined, keysSinceMs: 0, cover: new Set<string>(), load: undefined, staged: undefined },
    ...{ scopes: new Map(), holds: new Map(), jobs: new Map(), keys: new Map(), learned: new Map() },
  };
}

/** A copy that shares nothing that changes. */
export function copyOf(tenant: TenantModel): TenantModel {
  const { scopes, holds, jobs, keys, learned } = tenant;
  return {
    ...tenant,
    ...{ scopes: new Map(scopes), holds: new Map(holds), jobs: new Map(jobs) },
    ...{ keys: new Map(keys), learned: new Map(learned) },
  };
}

/** What is there at `nowMs`, if anything. */
export function alive<T>(kept: Expiring<T> | undefined, nowMs: number): T | undefined {
  return kept && nowMs <= kept.expiresAtMs ? kept.value : undefined;
}

/** Forgets what has expired. */
export function forgetExpired(tenant: TenantModel, nowMs: number): void {
  for (const kept of [tenant.jobs, tenant.keys]) {
    for (const [name, one] of kept) if (nowMs > one.expiresAtMs) kept.delete(name);
  }
  if (alive(tenant.load, nowMs) === undefined) tenant.load = undefined;
  if (alive(tenant.staged, nowMs) === undefined) tenant.staged = undefined;
}

/** The field that keeps a scope of the job's three. */
export function fieldsOf({
  apiKeyId,
  model,
}: Pick<ModelHold, 'apiKeyId' | 'model'>): readonly [string, string, string] {
  return ['t', `k:${apiKeyId}`, `m:${model}`];
}

/** Ends a hold in its three scopes and forgets it. */
export function endHold(
  { scopes, holds }: Pick<TenantModel, 'scopes' | 'holds'>,
  jobId: string,
  { used, requests, nowMs }: { readonly used: Amounts; readonly requests: bigint; readonly nowMs: number },
): void {
  const hold = holds.get(jobId);
  if (!hold) return;
  holds.delete(jobId);
  for (const field of fieldsOf(hold)) {
    const scope = scopes.get(field);
    if (!scope || scope.limits.size === 0) continue;
    scopes.set(field, ended(scope, { held: hold.amounts, used, requests, madeAtMs: hold.madeAtMs }, nowMs));
  }
}
