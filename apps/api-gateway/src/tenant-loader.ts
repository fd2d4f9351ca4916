import { randomInt } from 'node:crypto';
import { overridesSchema, ServiceError, type LimitChanges, type Plan } from '@sluice/contracts';
import type { Fence } from '@sluice/broker';
import type { LoadedKeys, LoadTicket, Quota } from '@sluice/quota';
import { delay, withDeadline, type Logger } from '@sluice/runtime';
import type { Principal, Store } from '@sluice/store';
import type { GatewayMetrics } from './gateway-metrics.js';
import { planLoad, type LoadPlan } from './load-plan.js';
import { createLoadTurn } from './load-turn.js';
import type { TenantLimits } from './tenant-limits.js';
import { changesOfEither, planOfEither } from './widest-limits.js';

export interface TenantLoader {
  /**
   * Waits until the use of the principal's tenant has been projected from PostgreSQL into Redis. Calls for one tenant
   * share one load, which goes on when its callers have given up waiting.
   *
   * @throws ServiceError `quota_unavailable`.
   */
  load(principal: Principal): Promise<void>;
}

export interface TenantLoaderOptions {
  readonly tenantLimits: Pick<TenantLimits, 'planOf' | 'ofModels'>;
  /** Public names of all models at present. */
  readonly models: () => readonly string[];
  readonly quota: Pick<Quota, 'beginLoad' | 'keepLoad' | 'leaveLoad' | 'load'>;
  readonly store: Pick<Store, 'quotaFacts' | 'recentKeys' | 'findTenant' | 'listApiKeys'>;
  readonly fence: Pick<Fence, 'pass'>;
  /** By the clock of Redis, as of which it is told what buckets lack (Unix milliseconds). */
  readonly now: () => number;
  /** How long a caller waits at most. */
  readonly waitMs: number;
  /** How long an Idempotency-Key lives, in milliseconds. */
  readonly idempotencyTtlMs: number;
  readonly metrics: Pick<GatewayMetrics, 'loading'>;
  readonly logger: Logger;
}

/** After so many loads were overtaken by others, the next request begins anew. */
const MAX_ATTEMPTS = 6;
/** Gateways that were overtaken wait for different times before they look again. */
const BACKOFF_MS = 40;
/** Idempotency-Keys that are restored at most; an unknown key that may be an older one is looked up when it is used. */
const MOST_KEYS = 5_000;
/** By so much the clock of Redis may differ from ours before keys are looked up that need not be. */
const CLOCK_MARGIN_MS = 60_000;

/**
 * ```
 * beginLoad ─loaded─▶ done
 *   ▲ ▲ └─busy─▶ wait, for another gateway is loading it ─┐
 *   │ └───────────────────────────────────────────────────┘
 *   │ begun: it is unloaded now
 *   │ fence ─▶ one snapshot of use and holds, and the newest keys ─▶ load ─loaded─▶ done
 *   └──────────────────────── wait a random time ◀─superseded────────┘
 * ```
 *
 * The fence comes before PostgreSQL is read: then every job whose hold was lost is either there, or was never published.
 */
export function createTenantLoader(options: TenantLoaderOptions): TenantLoader {
  const { tenantLimits, models, quota, store, fence, now, waitMs, idempotencyTtlMs, logger } = options;
  const turn = createLoadTurn(options);
  const loading = new Map<string, Promise<void>>();

  /** With what the principal, which may be a while old, has and what the records have by now. */
  async function widestPlan(principal: Principal): Promise<Plan> {
    const known = tenantLimits.planOf(principal);
    const tenant = await store.findTenant(principal.tenantId);
    const overrides = overridesSchema.safeParse(tenant?.overrides);
    if (!tenant || !overrides.success) return known;
    return planOfEither(known, tenantLimits.planOf({ plan: tenant.plan, overrides: overrides.data }));
  }

  async function planFor(principal: Principal): Promise<LoadPlan> {
    const { tenantId, timeZone, apiKeyId: asking } = principal;
    const [plan, apiKeys] = await Promise.all([widestPlan(principal), store.listApiKeys(tenantId)]);
    const stored = new Map(apiKeys.map(({ apiKeyId, keyLimits = {} }) => [apiKeyId, keyLimits]));
    stored.set(asking, changesOfEither(principal.keyLimits, stored.get(asking) ?? {}));
    const keyLimits = new Map<string, LimitChanges>(
      [...stored].filter(([, changes]) => Object.keys(changes).length > 0),
    );
    return planLoad({ plan, timeZone, keyLimits, models: models(), nowMs: now() });
  }

  async function keysOf(tenantId: string): Promise<LoadedKeys> {
    const sinceMs = Math.max(0, now() - idempotencyTtlMs - CLOCK_MARGIN_MS);
    const recent = await store.recentKeys({ tenantId, sinceMs, limit: MOST_KEYS });
    const entries = recent.keys.map(({ acceptedAtMs, ...key }) => {
      return { ...key, expiresAtMs: acceptedAtMs + idempotencyTtlMs };
    });
    return { entries, sinceMs: recent.sinceMs };
  }

  async function loadOnce(principal: Principal, ticket: LoadTicket): Promise<'loaded' | 'superseded'> {
    const { tenantId } = principal;
    await fence.pass();
    const [{ measures, cover, statesOf }, keys] = await Promise.all([planFor(principal), keysOf(tenantId)]);
    const facts = await store.quotaFacts({ tenantId, measures, nowMs: now() });
    return quota.load({ ticket, cover, ...statesOf(facts), keys });
  }

  async function loadUntilDone(principal: Principal): Promise<void> {
    const beganMs = performance.now();
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      const ticket = await turn.begin(principal.tenantId, () => tenantLimits.ofModels(principal, models()));
      if (!ticket) return;
      if ((await turn.during(ticket, () => loadOnce(principal, ticket))) === 'loaded') {
        logger.debug({ tenantId: principal.tenantId, attempt, ms: performance.now() - beganMs }, 'loaded a tenant');
        return;
      }
      await delay(randomInt(BACKOFF_MS * 2 ** attempt));
    }
    throw new Error(`the load of tenant ${principal.tenantId} was overtaken ${MAX_ATTEMPTS} times`);
  }

  function begin(principal: Principal): Promise<void> {
    const ended = options.metrics.loading();
    const load = loadUntilDone(principal)
      .then(() => ended('loaded'))
      .catch((cause: unknown) => {
        ended('failed');
        logger.warn({ err: cause, tenantId: principal.tenantId }, 'a tenant could not be loaded');
        throw unavailable('Usage so far cannot be read now.', cause);
      })
      .finally(() => loading.delete(principal.tenantId));
    load.catch(() => undefined); // It was logged; by now nobody may be waiting.
    loading.set(principal.tenantId, load);
    return load;
  }

  return {
    load(principal) {
      const load = loading.get(principal.tenantId) ?? begin(principal);
      return withDeadline(load, waitMs, () => unavailable('Usage so far is being read.'));
    },
  };
}

function unavailable(detail: string, cause?: unknown): ServiceError {
  return new ServiceError('quota_unavailable', detail, { retryAfterSeconds: 1, cause });
}
