import type { Service } from '@sluice/runtime';
import { type Accounts, createAccounts } from './accounts.js';
import { type Backlogs, createBacklogs } from './backlog.js';
import { createDatabase, type DatabaseOptions } from './database.js';
import { createDeadLetters, type DeadLetters } from './dead-letters.js';
import { createEstimateReports, type EstimateReports } from './estimate-errors.js';
import { createHolds, type Holds } from './holds.js';
import { createFenceMembers, type FenceMembers } from './fence-members.js';
import { createJobLists, type JobLists } from './job-list.js';
import { createJobRecords, type JobRecords } from './job-records.js';
import { createLimitAlerts, type LimitAlerts } from './limit-alerts.js';
import { createPartitions, type Partitions } from './partitions.js';
import { createPrices, type Prices } from './prices.js';
import { createProducers, type Producers } from './producers.js';
import { createQuotaFactsReader, type QuotaFactsReader } from './quota-facts.js';
import { createRecentKeysReader, type RecentKeysReader } from './recent-keys.js';
import { createReconciler, type Reconciler } from './reconciliation.js';
import { createRecorder, type Recorder } from './recorder.js';
import { loadStatement } from './statements.js';
import { createUsageReports, type UsageReports } from './usage.js';

export type StoreOptions = DatabaseOptions;

/**
 * The books of the suite, in PostgreSQL. The database must have been migrated (see `migrate`).
 *
 * Every method rejects with ServiceError `store_unavailable` when the database cannot serve.
 */
export interface Store
  extends
    Service,
    Accounts,
    Producers,
    Prices,
    Recorder,
    Backlogs,
    JobRecords,
    UsageReports,
    Holds,
    QuotaFactsReader,
    RecentKeysReader,
    FenceMembers,
    DeadLetters,
    JobLists,
    LimitAlerts,
    Reconciler,
    EstimateReports,
    Partitions {
  /** Resolves when the database answers and is migrated. */
  ping(): Promise<void>;
  /** What the clock of PostgreSQL shows, Unix milliseconds. */
  nowMs(): Promise<number>;
  /** Makes the monthly partitions of the next three months; cheap when nothing is missing. */
  ensurePartitions(): Promise<void>;
}

const statements = {
  ping: loadStatement('ping'),
  time: loadStatement('server-time'),
  ensurePartitions: loadStatement('ensure-partitions'),
};

export function createStore(options: StoreOptions): Store {
  const database = createDatabase(options);
  return {
    start: () => database.start(),
    stop: () => database.stop(),
    async ping() {
      await database.run(statements.ping);
    },
    async nowMs() {
      const [row] = await database.run<{ now_ms: string }>(statements.time);
      return Number(row?.now_ms);
    },
    ensurePartitions: () => database.call(statements.ensurePartitions),
    ...createAccounts(database),
    ...createProducers(database),
    ...createPrices(database),
    ...createRecorder(database),
    ...createBacklogs(database),
    ...createJobRecords(database),
    ...createUsageReports(database),
    ...createHolds(database),
    ...createQuotaFactsReader(database),
    ...createRecentKeysReader(database),
    ...createFenceMembers(database),
    ...createDeadLetters(database),
    ...createJobLists(database),
    ...createLimitAlerts(database),
    ...createReconciler(database),
    ...createEstimateReports(database),
    ...createPartitions(database),
  };
}
