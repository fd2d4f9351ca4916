import { createMetrics } from '@sluice/telemetry';
import type { SettleOutcome } from '@sluice/quota';
import type { Fact } from '@sluice/store';
import type { TenantDrift } from './drift.js';
import type { Sweep } from './sweeper.js';

/** What the parts of a collector tell about their work, and the page that shows it. */
export interface CollectorMetrics {
  readonly recorded: (type: Fact['type'], count: number) => void;
  readonly settled: (outcome: SettleOutcome | 'damaged') => void;
  readonly deadLetter: (queue: string) => void;
  readonly published: (eventType: string) => void;
  readonly swept: (sweep: Sweep) => void;
  readonly alertSent: () => void;
  /** All tenants with drift; those that are not in it have none. */
  readonly drift: (drifts: ReadonlyMap<string, TenantDrift>) => void;
  readonly repaired: () => void;
  readonly dropped: (table: string, rows: number) => void;
  /** In the text format of Prometheus. */
  readonly render: () => string;
}

export function createCollectorMetrics(): CollectorMetrics {
  const metrics = createMetrics();
  const facts = metrics.counter('sluice_facts_recorded_total', 'Facts added to the books.', ['type']);
  const settlements = metrics.counter('sluice_settlements_total', 'Holds settled in Redis, by outcome.', ['outcome']);
  const letters = metrics.counter('sluice_dead_letters_total', 'Dead messages kept, by the queue they were in.', [
    'queue',
  ]);
  const events = metrics.counter('sluice_events_published_total', 'Events confirmed by the broker.', ['type']);
  const sweeps = metrics.counter('sluice_swept_jobs_total', 'Jobs and holds that the sweep ended.', ['outcome']);
  const alerts = metrics.counter('sluice_limit_alerts_total', 'Alerts on quotas that were sent.');
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
  const rows = metrics.counter('sluice_dropped_rows_total', 'Rows dropped because their time was over.', ['table']);

  return {
    recorded: (type, count) => facts.of({ type }).add(count),
    settled: (outcome) => settlements.of({ outcome }).add(),
    deadLetter: (queue) => letters.of({ queue }).add(),
    published: (type) => events.of({ type }).add(),
    swept: (sweep) =>
      Object.entries<number>({ ...sweep }).forEach(([outcome, count]) => sweeps.of({ outcome }).add(count)),
    alertSent: () => alerts.add(),
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
    dropped: (table, count) => rows.of({ table }).add(count),
    render: () => metrics.render(),
  };
}
