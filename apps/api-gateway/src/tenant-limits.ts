import {
  limitsWith,
  LIMITS,
  modelLimits,
  planWith,
  rulesOf,
  ServiceError,
  type Estimate,
  type LimitSet,
  type Plan,
  type PlansFile,
} from '@sluice/contracts';
import { limitsOf, type Limit, type ScopedLimits } from '@sluice/quota';
import type { Principal } from '@sluice/store';

/** Whose limits are asked for; a principal, or a tenant as it is stored. */
export type PlanHolder = Pick<Principal, 'plan' | 'overrides'>;

export interface TenantLimits {
  /**
   * The limits of a request: of the tenant, of the API key and of the tenant's use of the model, each in the tenant's
   * own calendar. The same arrays are returned while nothing has changed, so that what is derived from them is kept.
   *
   * @throws ServiceError `quota_unavailable` when the tenant's plan is not configured here.
   */
  of(principal: Principal, model: string): readonly ScopedLimits[];
  /** The limits of the tenant, of the API key, and of each of these models. */
  ofModels(principal: Principal, models: readonly string[]): readonly ScopedLimits[];
  /** Whether a budget can refuse a request: without prices it cannot be kept. */
  hasBudget(principal: Principal, model: string): boolean;
  /** How the output of the tenant's jobs is held. */
  estimateOf(principal: Principal): Estimate;
  /** The plan with the tenant's overrides. */
  planOf(holder: PlanHolder): Plan;
}

export interface TenantLimitsOptions {
  readonly plans: PlansFile;
  /** Unix milliseconds. */
  readonly now: () => number;
}

/** What a principal may use of one model, kept while it is the same. */
interface OfModel {
  readonly set: LimitSet;
  readonly hasBudget: boolean;
  limits: readonly (readonly Limit[])[];
  scopes: readonly ScopedLimits[];
}

/** What follows from a principal alone. */
interface Effective {
  readonly plan: Plan;
  readonly keySet: LimitSet;
  readonly models: Map<string, OfModel>;
}

/** Finds the limits that apply. n.b. called for each request: principals are kept by `authentication`, plans by objects. */
export function createTenantLimits({ plans, now }: TenantLimitsOptions): TenantLimits {
  const known = new WeakMap<Principal, Effective>();

  function planOf({ plan: name, overrides }: PlanHolder): Plan {
    const plan = Object.hasOwn(plans.plans, name) ? plans.plans[name] : undefined;
    if (!plan) throw new ServiceError('quota_unavailable', 'The plan of this tenant is not configured here.');
    // The plan itself wherever possible: tenants that share it then share what is derived from it.
    return Object.keys(overrides).length === 0 ? plan : planWith(plan, overrides);
  }

  function effectiveOf(principal: Principal): Effective {
    const before = known.get(principal);
    if (before) return before;
    const plan = planOf(principal);
    const changed = Object.keys(principal.keyLimits).length > 0;
    const keySet = changed ? limitsWith(plan.perApiKey, principal.keyLimits) : plan.perApiKey;
    const effective = { plan, keySet, models: new Map<string, OfModel>() };
    known.set(principal, effective);
    return effective;
  }

  function ofModel({ plan, keySet, models }: Effective, model: string): OfModel {
    const before = models.get(model);
    if (before) return before;
    const set = modelLimits(plan, model);
    const hasBudget = [plan.limits, keySet, set].some(refusesByMoney);
    const fresh: OfModel = { set, hasBudget, limits: [], scopes: [] };
    models.set(model, fresh);
    return fresh;
  }

  function of(principal: Principal, model: string): readonly ScopedLimits[] {
    const effective = effectiveOf(principal);
    const kept = ofModel(effective, model);
    const nowMs = now();
    const tenant = limitsOf(effective.plan.limits, 'tenant', principal.timeZone, nowMs);
    const apiKey = limitsOf(effective.keySet, 'apiKey', principal.timeZone, nowMs);
    const ofTheModel = limitsOf(kept.set, 'model', principal.timeZone, nowMs);
    const [a, b, c] = kept.limits;
    if (a === tenant && b === apiKey && c === ofTheModel) return kept.scopes;
    kept.limits = [tenant, apiKey, ofTheModel];
    const all: readonly ScopedLimits[] = [
      { scope: 'tenant', subject: '', limits: tenant },
      { scope: 'apiKey', subject: principal.apiKeyId, limits: apiKey },
      { scope: 'model', subject: model, limits: ofTheModel },
    ];
    kept.scopes = Object.freeze(all.filter(({ limits }) => limits.length > 0));
    return kept.scopes;
  }

  return {
    of,
    ofModels(principal, models) {
      const [first = '', ...others] = models;
      const further = others.flatMap((model) => of(principal, model).filter(({ scope }) => scope === 'model'));
      return [...of(principal, first), ...further];
    },
    hasBudget: (principal, model) => ofModel(effectiveOf(principal), model).hasBudget,
    estimateOf: (principal) => effectiveOf(principal).plan.estimate,
    planOf,
  };
}

function refusesByMoney(set: LimitSet): boolean {
  return rulesOf(set).some(({ key, soft }) => LIMITS[key].unit === 'nanoUsd' && !soft);
}
