export type { Accounts, ApiKey, NewApiKey, NewTenant, Principal, Tenant, TenantPage } from './accounts.js';
export type { Backlogs, ModelBacklog } from './backlog.js';
export type {
  DeadLetter,
  DeadLetterQuery,
  DeadLetterRecord,
  DeadLetters,
  DeadLetterSummary,
  DeletedLetters,
  Replay,
} from './dead-letters.js';
export type { EstimateError, EstimateReports } from './estimate-errors.js';
export { RecordError } from './facts.js';
export type { AcceptedFact, CompletedFact, Fact, FactFailure, RecordOutcome } from './facts.js';
export type { FenceMember, FenceMembers, RegisteredFenceMember } from './fence-members.js';
export type { ExpiredHold, Holds } from './holds.js';
export type { JobListQuery, JobLists, JobPage, JobSummary } from './job-list.js';
export type { JobKey, JobRecord, JobRecords, TerminalFact } from './job-records.js';
export type { LimitAlert, LimitAlerts } from './limit-alerts.js';
export { migrate, MigrationError, type MigrateOptions } from './migrations.js';
export {
  type Partition,
  PARTITIONED_TABLES,
  type PartitionedTable,
  PartitionError,
  type PartitionExport,
  type Partitions,
} from './partitions.js';
export { syncPlans, type SyncPlansOptions } from './plans.js';
export type { PriceVersion } from './price-plan.js';
export { type Prices, syncPrices, type SyncPricesOptions } from './prices.js';
export type { Producer, Producers } from './producers.js';
export type {
  Measure,
  MeasuredAmount,
  OpenHold,
  QuotaFacts,
  QuotaFactsQuery,
  QuotaFactsReader,
  RateWindow,
  TimeWindow,
} from './quota-facts.js';
export type { RecentKey, RecentKeys, RecentKeysQuery, RecentKeysReader } from './recent-keys.js';
export type { Reconciler, Reconciliation } from './reconciliation.js';
export type { Recorder } from './recorder.js';
export { createStore, type Store, type StoreOptions } from './store.js';
export type { UsageGroup, UsageQuery, UsageReports, UsageRow } from './usage.js';
