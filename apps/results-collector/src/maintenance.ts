import type { Logger, Service } from '@sluice/runtime';
import type { Store } from '@sluice/store';
import { createPeriodic } from './periodic.js';

const RETRY_MS = 10_000;

export interface MaintenanceOptions {
  readonly store: Pick<Store, 'ensurePartitions'>;
  /** Milliseconds. */
  readonly intervalMs: number;
  readonly logger: Logger;
}

/** Makes the coming months' partitions, at start and then regularly. Several collectors may do so at once. */
export function createMaintenance({ store, intervalMs, logger }: MaintenanceOptions): Service {
  return createPeriodic({
    name: 'partitions',
    intervalMs,
    retryMs: Math.min(RETRY_MS, intervalMs),
    run: () => store.ensurePartitions(),
    logger,
  });
}
