import type { Price } from '@sluice/contracts';
import type { Fact, RecordOutcome } from '../facts.js';
import type { ExpiredHold } from '../holds.js';
import type { NewPriceVersion } from '../price-plan.js';
import type { Store } from '../store.js';
import { createAccountTables, type ModelApiKey, type ModelProducer, type ModelTenant } from './accounts.js';
import { backlog } from './backlog.js';
import { deleteDeadLetters, listDeadLetters, markReplayed, recordDeadLetter } from './dead-letters.js';
import { listJobs } from './job-lists.js';
import { findJob, findJobByKey, recentKeys, terminalFacts } from './jobs.js';
import { createPriceTable } from './prices.js';
import { quotaFacts } from './quota-facts.js';
import { type ModelReconciliation, reconcile } from './reconcile.js';
import { createRecorderModel } from './record-facts.js';
import { atOnce, type Steps } from './steps.js';
import { expiredOpenHolds } from './sweep.js';
import { compareText, createTables, type LedgerEntry, type UsageEntry } from './tables.js';

/** Methods of `Store` that the model has: those on the path of a job and of the programs around it. */
export const MODELLED_METHODS = [
  'findPrincipal',
  'findProducer',
  'findTenant',
  'listApiKeys',
  'findPrices',
  'recordFacts',
  'backlog',
  'findJob',
  'findJobByKey',
  'terminalFacts',
  'listJobs',
  'recentKeys',
  'quotaFacts',
  'expiredOpenHolds',
  'registerFenceMember',
  'fenceMembers',
  'forgetFenceMember',
  'recordDeadLetter',
  'listDeadLetters',
  'findDeadLetter',
  'markReplayed',
  'deleteDeadLetters',
  'ping',
  'nowMs',
  'ensurePartitions',
] as const satisfies readonly (keyof Store)[];

export type ModelledMethod = (typeof MODELLED_METHODS)[number];

/** A method of the store as one call at a moment of PostgreSQL's clock, in Unix milliseconds; microseconds are fractions. */
type AtTime<Method> = Method extends (...args: infer Args) => Promise<infer Result>
  ? (nowMs: number, ...args: Args) => Result
  : never;

export type ModelledCalls = { readonly [Name in ModelledMethod]: AtTime<Store[Name]> };

/**
 * A PostgreSQL with the tables of the store, in memory: synchronous, deterministic, without a clock of its own. Each call does
 * what the real method does at that moment, and throws what the real one rejects with; only `store_unavailable` is left to
 * whoever plays the network. A property test compares it with PostgreSQL.
 *
 * All real methods are one statement and so one transaction, except those in `steps`, `listJobs` of queued and other unsuccessful
 * jobs (which reads twice), and `ensurePartitions`, which has nothing to do here.
 */
export interface StoreModel extends ModelledCalls {
  /** The methods that are several transactions, one statement at a time; a crash may come between any two. */
  readonly steps: {
    /** One statement, more when PostgreSQL refuses facts that `problemOf` does not. None for no facts. */
    recordFacts(facts: readonly Fact[]): Steps<RecordOutcome>;
    /** One or more that move the sweep's mark, then one that reads. */
    expiredOpenHolds(limit: number, deadlinesMs?: number): Steps<readonly ExpiredHold[]>;
  };
  putTenant(tenant: ModelTenant): void;
  putApiKey(key: ModelApiKey): void;
  putProducer(producer: ModelProducer): void;
  /** @throws Error when another version of its model and meter is in force at the same time. */
  putPrice(price: NewPriceVersion): void;
  /**
   * As the function `syncPrices` of the package, with these configured prices.
   *
   * @throws ConfigError when they would change the past.
   */
  syncPrices(nowMs: number, prices: readonly Price[]): void;
  /** All entries, in the order in which they were recorded. */
  ledger(): readonly LedgerEntry[];
  /** All rows of `usage_15m`, as they were added up. */
  rollup(): readonly UsageEntry[];
  reconcile(nowMs: number): readonly ModelReconciliation[];
}

export interface StoreModelOptions {
  /** For tests of whoever checks the books: every fact is new, as if the ledger had no primary key. */
  readonly withoutLedgerKey?: boolean;
}

export function createStoreModel({ withoutLedgerKey = false }: StoreModelOptions = {}): StoreModel {
  const tables = createTables();
  const accounts = createAccountTables();
  const prices = createPriceTable();
  const recorder = createRecorderModel({ tables, prices, withoutLedgerKey });
  const { fenceMembers } = tables;
  return {
    steps: {
      recordFacts: (facts) => recorder.recordFacts(facts),
      expiredOpenHolds: (limit, deadlinesMs) => expiredOpenHolds(tables, limit, deadlinesMs),
    },
    putTenant: (tenant) => accounts.putTenant(tenant),
    putApiKey: (key) => accounts.putApiKey(key),
    putProducer: (producer) => accounts.putProducer(producer),
    putPrice: (price) => prices.put(price),
    syncPrices: (nowMs, configured) => prices.sync(nowMs, configured),
    ledger: () => tables.ledger,
    rollup: () => [...tables.usage.values()],
    reconcile: (nowMs) => reconcile(tables, nowMs),

    findPrincipal: (nowMs, keyHash) => accounts.findPrincipal(nowMs, keyHash),
    findProducer: (_nowMs, userId) => accounts.findProducer(userId),
    findTenant: (_nowMs, tenantId) => accounts.findTenant(tenantId),
    listApiKeys: (_nowMs, tenantId) => accounts.listApiKeys(tenantId),
    findPrices: (nowMs) => prices.find(nowMs),

    recordFacts: (nowMs, facts) => atOnce(recorder.recordFacts(facts), nowMs),
    backlog: () => backlog(tables),
    findJob: (_nowMs, tenantId, jobId) => findJob(tables, tenantId, jobId),
    findJobByKey: (_nowMs, key) => findJobByKey(tables, key),
    terminalFacts: (_nowMs, jobIds) => terminalFacts(tables, jobIds),
    listJobs: (_nowMs, query) => listJobs(tables, query),
    recentKeys: (_nowMs, query) => recentKeys(tables, query),
    quotaFacts: (nowMs, query) => quotaFacts(tables, nowMs, query),
    expiredOpenHolds: (nowMs, limit, deadlinesMs) => atOnce(expiredOpenHolds(tables, limit, deadlinesMs), nowMs),

    registerFenceMember: (nowMs, { memberId, role, queue }) => {
      fenceMembers.set(memberId, { memberId, role, queue, seenAtMs: Math.floor(nowMs) });
    },
    fenceMembers: () =>
      [...fenceMembers.values()].sort((a, b) => compareText(a.role, b.role) || compareText(a.memberId, b.memberId)),
    forgetFenceMember: (_nowMs, memberId) => void fenceMembers.delete(memberId),

    recordDeadLetter: (nowMs, letter) => recordDeadLetter(tables, nowMs, letter),
    listDeadLetters: (_nowMs, query) => listDeadLetters(tables, query),
    findDeadLetter: (_nowMs, id) => tables.deadLetters.get(id),
    markReplayed: (nowMs, replay) => markReplayed(tables, nowMs, replay),
    deleteDeadLetters: (_nowMs, options) => deleteDeadLetters(tables, options),

    ping: () => undefined,
    nowMs: (nowMs) => nowMs,
    ensurePartitions: () => undefined,
  };
}
