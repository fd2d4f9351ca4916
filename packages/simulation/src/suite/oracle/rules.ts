import {
  LIMITS,
  limitName,
  rulesOf,
  type LimitFacts,
  type LimitScope,
  type LimitSet,
  type LimitUnit,
} from '@sluice/contracts';
import type { Scenario } from '../scenario/scenario.js';
import { TIME_ZONES, type SimTenant } from '../scenario/tenants.js';

/** A limit as the configuration has it, read by the oracle for itself. */
export interface Rule {
  readonly tenant: SimTenant;
  readonly scope: LimitScope;
  readonly name: string;
  readonly unit: LimitUnit;
  readonly kind: 'rate' | 'quota' | 'inFlight';
  readonly period: 'day' | 'month' | undefined;
  readonly max: number;
}

/** What a job counts for. */
export interface Subject {
  readonly tenantId: string;
  readonly apiKeyId: string;
  readonly model: string;
}

/** All rules of a run. Every plan here treats all API keys alike, and all models. */
export function rulesIn({ tenants, plans }: Scenario): readonly Rule[] {
  return tenants.flatMap((tenant) => {
    const plan = plans.plans[tenant.plan];
    if (!plan) return [];
    return [
      ...rulesOfSet(tenant, 'tenant', plan.limits),
      ...rulesOfSet(tenant, 'apiKey', plan.perApiKey),
      ...rulesOfSet(tenant, 'model', plan.perModel['*'] ?? {}),
    ];
  });
}

function rulesOfSet(tenant: SimTenant, scope: LimitScope, set: LimitSet): readonly Rule[] {
  return rulesOf(set).map(({ key, max }) => {
    const { kind, unit, period }: LimitFacts = LIMITS[key];
    return { tenant, scope, name: limitName(scope, key), kind, unit, period, max };
  });
}

/** Whom of a rule's scope a job counts for; undefined when the job is another tenant's. */
export function subjectOf({ tenant, scope }: Rule, job: Subject): string | undefined {
  if (job.tenantId !== tenant.tenantId) return undefined;
  return { tenant: '', apiKey: job.apiKeyId, model: job.model }[scope];
}

/** Names the day or month of the tenant's calendar that a time lies in; '' for a rule without periods. */
export function periodNameOf({ tenant, period }: Rule, atMs: number): string {
  if (period === undefined) return '';
  const offsetMs = TIME_ZONES.find(({ name }) => name === tenant.timeZone)?.offsetMs ?? 0;
  return new Date(atMs + offsetMs).toISOString().slice(0, period === 'day' ? 10 : 7);
}
