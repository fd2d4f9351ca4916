import type { Metrics } from '@sluice/telemetry';
import type { TenantDrift } from './drift.js';

export interface DriftMetrics {
  /** All tenants with drift; those that are not in it have none. */
  readonly drift: (drifts: ReadonlyMap<string, TenantDrift>) => void;
  readonly repaired: () => void;
}

export function createDriftMetrics(metrics: Metrics): DriftMetrics {
  const drift = metrics.gauge(
    'sluice_quota_drift',
    'Redis minus the books in the unit of the limit, by tenant and limit; absent when there is none.',
    ['tenant', 'scope', 'subject', 'limit'],
  );
  const holds = metrics.gauge('sluice_quota_hold_drift', 'Holds in Redis that are missing or leaked, by tenant.', [
    'tenant',
    'kind',
  ]);
  const repairs = metrics.counter('sluice_quota_repairs_total', 'Tenants unloaded because their drift stayed.');

  return {
    drift(drifts) {
      drift.clear();
      holds.clear();
      for (const [tenant, { limits, missing, leaked }] of drifts) {
        for (const { scope, subject, limit, distance } of limits) {
          drift.of({ tenant, scope, subject, limit }).set(distance);
        }
        if (missing.length > 0) holds.of({ tenant, kind: 'missing' }).set(missing.length);
        if (leaked.length > 0) holds.of({ tenant, kind: 'leaked' }).set(leaked.length);
      }
    },
    repaired: () => repairs.add(),
  };
}
