import { JOB_CLASSES, jobIdTimeMs, TERMINAL_STATES, totalTokens } from '@sluice/contracts';
import {
  type AcceptedFact,
  type CompletedFact,
  distinctValid,
  type Fact,
  type FactFailure,
  RecordError,
  type RecordOutcome,
} from '../facts.js';
import { storableJson, storableText } from '../storable.js';
import { changeBacklog } from './backlog.js';
import type { PriceTable } from './prices.js';
import type { Steps } from './steps.js';
import { compareText, type JobEntry, type LedgerEntry, ownTables, type ResultEntry, type Tables } from './tables.js';
import { addUsage, usageOf } from './usage.js';

export interface RecorderModelOptions {
  readonly tables: Tables;
  readonly prices: PriceTable;
  /** Makes every entry new, as if the ledger had no primary key. */
  readonly withoutLedgerKey: boolean;
}

interface Progress {
  readonly newlyAccepted: Set<string>;
  readonly newlyCompleted: Map<string, bigint>;
  readonly failures: FactFailure[];
}

/** `Recorder.recordFacts`: one statement, or several when PostgreSQL refuses some of the facts. */
export function createRecorderModel({ tables, prices, withoutLedgerKey }: RecorderModelOptions) {
  const isNew = (entries: Map<string, LedgerEntry>, jobId: string): boolean => withoutLedgerKey || !entries.has(jobId);

  /** What `record-facts.sql` does at once. */
  function record(facts: readonly Fact[], nowMs: number, progress: Progress): void {
    for (const fact of [...facts].sort(inKeyOrder)) {
      if (fact.type === 'accepted') accept(fact.message, nowMs, progress);
      else complete(fact.message, nowMs, progress);
    }
  }

  function accept(fact: AcceptedFact, nowMs: number, { newlyAccepted }: Progress): void {
    if (!isNew(tables.reserves, fact.jobId)) return;
    const entry = reserveOf(fact, nowMs);
    tables.ledger.push(entry);
    tables.reserves.set(fact.jobId, entry);
    newlyAccepted.add(fact.jobId);
    if (tables.jobs.has(fact.jobId)) return;
    const job = jobOf(fact);
    if (!tables.ends.has(job.jobId)) changeBacklog(tables.backlog, job, 1);
    tables.jobs.set(fact.jobId, job);
    ownTables(tables, job.tenantId).jobs.push(job);
    if (job.expiresAtMs < Math.max(nowMs, tables.sweptUntilMs)) tables.overdue.set(job.jobId, job);
  }

  function complete(fact: CompletedFact, nowMs: number, { newlyCompleted }: Progress): void {
    if (!isNew(tables.ends, fact.jobId)) return;
    const entry = endOf(fact, prices.amountOf(fact, jobIdTimeMs(fact.jobId)), nowMs);
    tables.ledger.push(entry);
    tables.ends.set(fact.jobId, entry);
    ownTables(tables, entry.tenantId).ends.push(entry);
    addUsage(tables.usage, usageOf(entry));
    const job = tables.jobs.get(fact.jobId);
    if (job) changeBacklog(tables.backlog, job, -1);
    if (!tables.results.has(fact.jobId)) tables.results.set(fact.jobId, resultOf(fact));
    newlyCompleted.set(fact.jobId, entry.amountNanoUsd);
  }

  function* recordOrBisect(facts: readonly Fact[], progress: Progress): Steps<void> {
    const [first] = facts;
    if (first === undefined) return;
    const nowMs = yield;
    if (!facts.some(isRefused)) return record(facts, nowMs, progress);
    if (facts.length === 1) {
      const cause = new Error('PostgreSQL refuses the values');
      progress.failures.push({ type: first.type, jobId: first.message.jobId, cause });
      return;
    }
    const middle = facts.length >> 1;
    yield* recordOrBisect(facts.slice(0, middle), progress);
    yield* recordOrBisect(facts.slice(middle), progress);
  }

  return {
    *recordFacts(facts: readonly Fact[]): Steps<RecordOutcome> {
      const progress: Progress = { newlyAccepted: new Set(), newlyCompleted: new Map(), failures: [] };
      yield* recordOrBisect(distinctValid(facts, progress.failures), progress);
      const { failures, ...outcome } = progress;
      if (failures.length > 0) throw new RecordError(failures, outcome);
      return outcome;
    },
  };
}

/** The order of the ledger's key. */
function inKeyOrder(a: Fact, b: Fact): number {
  return compareText(a.message.jobId, b.message.jobId) || compareText(a.type, b.type);
}

/** What no type and no `problemOf` keeps out, and no enum of the database lets in. */
function isRefused({ type, message }: Fact): boolean {
  return type === 'accepted' ? !JOB_CLASSES.includes(message.class) : !TERMINAL_STATES.includes(message.state);
}

function reserveOf(fact: AcceptedFact, recordedAtMs: number): LedgerEntry {
  return {
    jobId: fact.jobId,
    jobAtMs: jobIdTimeMs(fact.jobId),
    phase: 1,
    tenantId: storableText(fact.tenantId),
    apiKeyId: fact.apiKeyId,
    model: storableText(fact.model),
    state: undefined,
    inputTokens: fact.inputTokens,
    outputTokens: fact.maxOutputTokens,
    cachedTokens: 0,
    amountNanoUsd: 0n,
    reservedTokens: fact.reservedTokens,
    overageTokens: 0,
    overageNanoUsd: 0n,
    recordedAtMs,
  };
}

function endOf(fact: CompletedFact, amountNanoUsd: bigint, recordedAtMs: number): LedgerEntry {
  const { usage, reservedTokens, reservedNanoUsd } = fact;
  const beyondMoney = reservedNanoUsd === undefined ? 0n : amountNanoUsd - BigInt(reservedNanoUsd);
  return {
    jobId: fact.jobId,
    jobAtMs: jobIdTimeMs(fact.jobId),
    phase: 2,
    tenantId: storableText(fact.tenantId),
    apiKeyId: fact.apiKeyId,
    model: storableText(fact.model),
    state: fact.state,
    inputTokens: usage.inputTokens,
    outputTokens: usage.outputTokens,
    cachedTokens: usage.cachedTokens,
    amountNanoUsd,
    reservedTokens: reservedTokens ?? 0,
    // What was held is not known: nothing is overage.
    overageTokens: reservedTokens === undefined ? 0 : Math.max(0, totalTokens(usage) - reservedTokens),
    overageNanoUsd: beyondMoney > 0n ? beyondMoney : 0n,
    recordedAtMs,
  };
}

function jobOf(fact: AcceptedFact): JobEntry {
  return {
    jobId: fact.jobId,
    jobAtMs: jobIdTimeMs(fact.jobId),
    tenantId: storableText(fact.tenantId),
    apiKeyId: fact.apiKeyId,
    model: storableText(fact.model),
    class: fact.class,
    inputTokens: fact.inputTokens,
    maxOutputTokens: fact.maxOutputTokens,
    reservedTokens: fact.reservedTokens,
    reservedNanoUsd: fact.reservedNanoUsd ?? 0,
    expiresAtMs: fact.expiresAtMs,
    metadata: asStored(fact.metadata),
    keyHash: fact.idempotency && storableText(fact.idempotency.keyHash),
    fingerprint: fact.idempotency && storableText(fact.idempotency.fingerprint),
    replay: fact.replay,
  };
}

function resultOf(fact: CompletedFact): ResultEntry {
  return {
    startedAtMs: fact.startedAtMs,
    finishedAtMs: fact.finishedAtMs,
    attempt: fact.attempt,
    modelVersion: fact.modelVersion && storableText(fact.modelVersion),
    error: asStored(fact.error),
    output: asStored(fact.output),
  };
}

/** A value as it comes back from a jsonb column; never shared with whoever gave it. */
export function asStored<T>(value: T): T {
  return value === undefined ? value : (JSON.parse(storableJson(value)) as T);
}
