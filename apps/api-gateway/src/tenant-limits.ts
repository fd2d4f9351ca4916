import type { Limit, Quota } from '@sluice/quota';
import { limitsOf } from '@sluice/quota';
import { ServiceError, type PlansFile } from '@sluice/contracts';
import type { Principal, Store } from '@sluice/store';

/** Jobs of a gateway whose clock is ahead count as well. */
const CLOCK_TOLERANCE_MS = 60_000;

export interface TenantLimitsOptions {
  readonly plans: PlansFile;
  readonly quota: Pick<Quota, 'load'>;
  readonly store: Pick<Store, 'quotaFacts'>;
  readonly now: () => number;
}

export interface TenantLimits {
  /** The limits of a tenant's plan, in the tenant's own calendar. */
  of(principal: Principal): readonly Limit[];
  /**
   * Projects what PostgreSQL knows of a tenant (posted usage of this month, open holds) into Redis. Concurrent calls
   * for one tenant share one load. Until it has succeeded the tenant is not admitted.
   *
   * @throws ServiceError `quota_unavailable`.
   */
  load(principal: Principal): Promise<void>;
}

export function createTenantLimits({ plans, quota, store, now }: TenantLimitsOptions): TenantLimits {
  const loading = new Map<string, Promise<void>>();

  function of(principal: Principal): readonly Limit[] {
    const plan = Object.hasOwn(plans.plans, principal.plan) ? plans.plans[principal.plan] : undefined;
    if (plan) return limitsOf(plan.limits, principal.timeZone, now());
    throw new ServiceError('quota_unavailable', 'The plan of this tenant is not configured here.');
  }

  async function project(principal: Principal): Promise<void> {
    const limits = of(principal);
    const { tenantId } = principal;
    // One snapshot of the database: a job that settles meanwhile is either open or posted, never both or neither.
    const facts = await store.quotaFacts({ tenantId, windows: limits.map((limit) => windowOf(limit, now())) });
    const posted = Object.fromEntries(limits.map(({ name }, index) => [name, facts.posted[index] ?? 0]));
    const openHolds = facts.openHolds.map(({ reservedTokens, ...hold }) => ({ ...hold, tokens: reservedTokens }));
    await quota.load({ tenantId, limits, posted, openHolds });
  }

  return {
    of,
    load(principal) {
      const current = loading.get(principal.tenantId);
      if (current) return current;
      const load = project(principal)
        .catch((cause: unknown) => {
          throw new ServiceError('quota_unavailable', 'Usage so far cannot be read now.', {
            cause,
            retryAfterSeconds: 1,
          });
        })
        .finally(() => loading.delete(principal.tenantId));
      loading.set(principal.tenantId, load);
      return load;
    },
  };
}

/** Whose settled jobs count against a limit now: those of the current period, or of the last window of a rate. */
function windowOf({ period, windowMs = 0 }: Limit, nowMs: number): { readonly fromMs: number; readonly toMs: number } {
  if (period) return { fromMs: period.startsAtMs, toMs: period.endsAtMs };
  return { fromMs: nowMs - windowMs, toMs: nowMs + CLOCK_TOLERANCE_MS };
}
