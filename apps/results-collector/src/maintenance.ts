import type { Logger, Service } from '@sluice/runtime';
import { PARTITIONED_TABLES, type Store } from '@sluice/store';
import { createPeriodic, type PeriodicOptions } from './periodic.js';

const RETRY_MS = 10_000;

export interface MaintenanceOptions {
  readonly store: Pick<Store, 'ensurePartitions' | 'listPartitions'>;
  /** By the clock of PostgreSQL (Unix milliseconds). */
  readonly nowMs: () => Promise<number>;
  /** Hears how many months after this one there are partitions for, of the table that has fewest. */
  readonly onAhead: (months: number) => void;
  readonly onRun: PeriodicOptions['onRun'];
  /** Milliseconds. */
  readonly intervalMs: number;
  readonly logger: Logger;
}

/** Makes the coming months' partitions, at start and then regularly. Several collectors may do so at once. */
export function createMaintenance(options: MaintenanceOptions): Service {
  const { store, intervalMs, nowMs, onAhead, onRun, logger } = options;

  async function monthsAhead(): Promise<number> {
    const now = await nowMs();
    const counts = PARTITIONED_TABLES.map(async (table) => {
      const partitions = await store.listPartitions(table);
      return partitions.filter(({ fromMs = 0 }) => fromMs > now).length;
    });
    return Math.min(...(await Promise.all(counts)));
  }

  return createPeriodic({
    name: 'partitions',
    intervalMs,
    retryMs: Math.min(RETRY_MS, intervalMs),
    async run() {
      await store.ensurePartitions();
      onAhead(await monthsAhead());
    },
    ...(onRun && { onRun }),
    logger,
  });
}
