import type { Limit, Quota } from '@sluice/quota';
import { limitsOf } from '@sluice/quota';
import { ServiceError, type PlansFile } from '@sluice/contracts';
import type { Principal, Store } from '@sluice/store';

export interface TenantLimitsOptions {
  readonly plans: PlansFile;
  readonly quota: Pick<Quota, 'load'>;
  readonly store: Pick<Store, 'openHolds' | 'postedTokens'>;
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
    const plan = plans.plans[principal.plan];
    if (plan) return limitsOf(plan.limits, principal.timeZone, now());
    throw new ServiceError('quota_unavailable', 'The plan of this tenant is not configured here.');
  }

  async function project(principal: Principal): Promise<void> {
    const limits = of(principal);
    const month = limits.find((limit) => limit.period !== undefined)?.period;
    const [posted, openHolds] = await Promise.all([
      month ? store.postedTokens({ tenantId: principal.tenantId, fromMs: month.startsAtMs, toMs: month.endsAtMs }) : 0,
      store.openHolds(principal.tenantId),
    ]);
    const held = openHolds.map(({ reservedTokens, ...hold }) => ({ ...hold, tokens: reservedTokens }));
    await quota.load({ tenantId: principal.tenantId, limits, posted, openHolds: held });
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
