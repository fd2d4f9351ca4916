import { ALIVE_MS, SNAPSHOT_TTL_MS } from '../bounds.js';
import { definitionsOf } from '../definitions.js';
import type { HoldRef } from '../expired-holds.js';
import type { LimitStatus, ScopedLimits } from '../limits.js';
import type {
  JobSnapshot,
  Load,
  LoadTicket,
  Reservation,
  ReserveOutcome,
  Settlement,
  SettleOutcome,
  TenantState,
} from '../quota.js';
import { scopeField } from '../scope-state.js';
import { checkAmounts, checkCount } from '../values.js';
import { progressAt, releaseSteps, settleAt } from './hold-model.js';
import { statusesOf } from './limit-statuses.js';
import { beginAt, loadSteps, ownLoad } from './load-model.js';
import { reserveSteps } from './reserve-steps.js';
import type { Steps } from './steps.js';
import { alive, copyOf, emptyTenant, forgetExpired, type TenantModel } from './tenant-model.js';
import { createFindExpiredHolds, pageOf, type FindExpiredHolds } from './tenant-pages.js';
import { tenantView } from './tenant-view.js';

export interface QuotaModelOptions {
  /** Makes the token of each load; unique. */
  readonly newId: () => string;
  /** As for `createQuota`. */
  readonly snapshotTtlMs?: number;
}

/** All that a Redis keeps, as of one moment. */
export interface QuotaImage {
  readonly tenants: ReadonlyMap<string, TenantModel>;
  readonly known: ReadonlySet<string>;
}

/**
 * A Redis process with the scripts of this package, in memory: synchronous, deterministic and without a clock. Every
 * command is given the time of Redis' clock (Unix milliseconds), which may be set forward and back; calls of several
 * commands are `Steps`. Outcomes, and what is thrown, are those of `Quota`; what a Redis that cannot be reached does is
 * the caller's to say. Nothing runs out of memory and nothing is evicted. What has expired is forgotten when it is asked
 * for, so setting the clock back revives what Redis may have deleted.
 */
export interface QuotaModel {
  /** 'reserve', another 'reserve' with definitions, 'get' of a snapshot, 'free' of a key. */
  reserve(reservation: Reservation): Steps<ReserveOutcome>;
  /** 'hget', 'release'. */
  release(hold: HoldRef & { readonly owner: string }): Steps<boolean>;
  dropHold(hold: HoldRef): Steps<boolean>;
  confirm(nowMs: number, job: HoldRef): boolean;
  /** One of a batch: `running` of the package sends them in one pipeline, between whose commands others may come. */
  running(nowMs: number, job: HoldRef): boolean;
  /** One of a batch, likewise. */
  settle(nowMs: number, settlement: Settlement): SettleOutcome;
  status(nowMs: number, tenantId: string, scopes: readonly ScopedLimits[]): readonly LimitStatus[] | undefined;
  /** 'begin', 'sadd'. */
  beginLoad(tenantId: string): Steps<LoadTicket>;
  beginLoad(tenantId: string, limits: readonly ScopedLimits[]): Steps<LoadTicket | 'loaded' | 'busy'>;
  keepLoad(nowMs: number, ticket: LoadTicket): boolean;
  leaveLoad(nowMs: number, ticket: LoadTicket): void;
  /** 'set' for each 1,000 keys, 'stage' for each part, 'commit'. */
  load(facts: Load): Steps<'loaded' | 'superseded'>;
  /** 'del', 'hdel'. */
  unload(tenantId: string): Steps<void>;
  inspect(tenantId: string): TenantState | undefined;
  tenants(cursor: string): { readonly cursor: string; readonly tenantIds: readonly string[] };
  snapshot(nowMs: number, tenantId: string, jobId: string): JobSnapshot | undefined;
  /** Makes `expiredHolds` of one instance of the package: 'time', and 'sscan' and 'zrangebyscore' for each page. */
  expiredHolds(): FindExpiredHolds;
  /** Forgets what has expired, which Redis does when it finds the time. */
  expire(nowMs: number): void;
  /** FLUSHALL. */
  flush(): void;
  /** Another process on the same data, or on those of an image. */
  restart(image?: QuotaImage): void;
  /** What a copy on disk or a replica would have now. */
  image(): QuotaImage;
  /** Calls back within each `settle`: the publish that wakes who waits for the job. Returns what ends that. */
  onSettled(listener: (job: HoldRef) => void): () => void;
  /** What is kept of a tenant, for checks; not to be changed. */
  kept(tenantId: string): Readonly<TenantModel>;
}

/** An empty Redis. */
export function createQuotaModel({ newId, snapshotTtlMs = SNAPSHOT_TTL_MS }: QuotaModelOptions): QuotaModel {
  let tenants = new Map<string, TenantModel>();
  let known = new Set<string>();
  let run = 0;
  const listeners = new Set<(job: HoldRef) => void>();
  const source = { tenant: tenantOf, isLoaded, run: () => run };

  function tenantOf(tenantId: string): TenantModel {
    const tenant = tenants.get(tenantId) ?? emptyTenant();
    tenants.set(tenantId, tenant);
    return tenant;
  }
  function isLoaded({ loadedIn }: TenantModel): boolean {
    return loadedIn === run;
  }

  function beginLoad(tenantId: string): Steps<LoadTicket>;
  function beginLoad(tenantId: string, limits: readonly ScopedLimits[]): Steps<LoadTicket | 'loaded' | 'busy'>;
  function* beginLoad(tenantId: string, limits?: readonly ScopedLimits[]): Steps<LoadTicket | 'loaded' | 'busy'> {
    const ticket = { tenantId, token: newId() };
    const outcome = beginAt(source, ticket, { limits, nowMs: yield 'begin' });
    if (outcome !== 'begun') return outcome;
    yield 'sadd';
    known.add(tenantId);
    return ticket;
  }

  function keep(nowMs: number, ticket: LoadTicket, aliveMs: number): boolean {
    const tenant = tenantOf(ticket.tenantId);
    const load = ownLoad(source, ticket, nowMs);
    if (!load || !tenant.load) return false;
    tenant.load = { ...tenant.load, value: { ...load, aliveUntilMs: nowMs + aliveMs } };
    return true;
  }

  function status(nowMs: number, tenantId: string, scopes: readonly ScopedLimits[]) {
    for (const { limits } of scopes) definitionsOf(limits);
    const tenant = tenantOf(tenantId);
    if (!isLoaded(tenant)) return undefined;
    const kept = scopes.map(({ scope, subject }) => tenant.scopes.get(scopeField(scope, subject)));
    const isUnknown = scopes.some(({ limits }, i) => !kept[i] && limits.some(({ name }) => !tenant.cover.has(name)));
    return isUnknown ? undefined : statusesOf(scopes, kept, nowMs);
  }

  return {
    reserve: (reservation) => reserveSteps(source, reservation),
    release: ({ owner, ...hold }) => releaseSteps(source, hold, owner),
    dropHold: (hold) => releaseSteps(source, hold),
    confirm: (nowMs, { tenantId, jobId }) => progressAt(tenantOf(tenantId), jobId, 'queued', nowMs),
    running: (nowMs, { tenantId, jobId }) => progressAt(tenantOf(tenantId), jobId, 'running', nowMs),

    settle(nowMs, settlement) {
      checkAmounts(settlement);
      checkCount('outputTokens', settlement.outputTokens);
      const outcome = settleAt(source, settlement, { nowMs, snapshotTtlMs });
      const { tenantId, jobId } = settlement;
      for (const listener of listeners) listener({ tenantId, jobId });
      return outcome;
    },

    status,
    beginLoad,
    keepLoad: (nowMs, ticket) => keep(nowMs, ticket, ALIVE_MS),
    leaveLoad: (nowMs, ticket) => void keep(nowMs, ticket, 0),
    load: (facts) => loadSteps(source, facts),

    *unload(tenantId) {
      yield 'del';
      tenantOf(tenantId).load = undefined;
      yield 'hdel';
      tenantOf(tenantId).loadedIn = undefined;
    },

    inspect(tenantId) {
      const tenant = tenantOf(tenantId);
      return isLoaded(tenant) ? tenantView(tenant) : undefined;
    },
    tenants: (cursor) => pageOf(known, cursor),
    snapshot: (nowMs, tenantId, jobId) => alive(tenantOf(tenantId).jobs.get(jobId), nowMs),
    expiredHolds: () => createFindExpiredHolds({ tenants: () => known, tenant: tenantOf }),

    expire(nowMs) {
      for (const tenant of tenants.values()) forgetExpired(tenant, nowMs);
    },
    flush() {
      tenants = new Map();
      known = new Set();
    },
    restart(image) {
      run++;
      if (!image) return;
      tenants = copies(image.tenants);
      known = new Set(image.known);
    },
    image: () => ({ tenants: copies(tenants), known: new Set(known) }),

    onSettled(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    kept: tenantOf,
  };
}

function copies(tenants: ReadonlyMap<string, TenantModel>): Map<string, TenantModel> {
  return new Map([...tenants].map(([tenantId, tenant]) => [tenantId, copyOf(tenant)]));
}
