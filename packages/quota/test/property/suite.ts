import { isServiceError } from '@sluice/contracts';
import type { Amounts, Settlement } from '../../src/index.js';
import { createQuotaModel, type QuotaImage, type QuotaModel, type Steps } from '../../src/model/index.js';
import { BEGIN_MS } from './clocked-redis.js';
import { allScopes, factsOf, HOLD_TTL_MS, type LedgerJob } from './ledger.js';
import { scopesAt } from './plans.js';

export const TENANT = 'acme';
/** Limits that are soon reached. */
export const PLAN = 4;

/**
 * Gateways, collectors, loaders and a sweeper around the model, reduced to what they do to quota and records. Each is a
 * process that can be stopped for ever before any of its steps; nothing but the model and the ledger outlives it.
 */
export interface Suite {
  readonly model: QuotaModel;
  readonly ledger: Map<string, LedgerJob>;
  nowMs: number;
  image: QuotaImage | undefined;
  /** Those that go on, by number; admissions are watched by fences. */
  readonly processes: Map<number, Process>;
  started: number;
  /** Outcomes, by name. */
  readonly seen: Set<string>;
  readonly ended: Map<string, number>;
}

export interface Process {
  readonly steps: Steps<void>;
  /** The job that is being admitted. */
  readonly admits?: string;
}

export function openSuite(seen: Set<string>): Suite {
  let tickets = 0;
  return {
    model: createQuotaModel({ newId: () => `ticket-${tickets++}` }),
    ...{ ledger: new Map(), nowMs: BEGIN_MS, image: undefined, processes: new Map(), started: 0, seen },
    ended: new Map(),
  };
}

export function start(suite: Suite, process: Process): void {
  const { done } = process.steps.next(0);
  if (!done) suite.processes.set(suite.started++, process);
}

/** Runs one command of a process, which ends when that fails. */
export function advance(suite: Suite, id: number): void {
  const process = suite.processes.get(id);
  try {
    if (process?.steps.next(suite.nowMs).done) suite.processes.delete(id);
  } catch (error) {
    // As a request does that is answered 503.
    if (!isServiceError(error)) throw error;
    suite.seen.add(error.code);
    suite.processes.delete(id);
  }
}

/** Kills one: it never goes on. */
export function kill({ processes }: Suite, id: number): void {
  processes.delete(id);
}

export interface Admission {
  readonly jobId: string;
  readonly apiKeyId: string;
  readonly amounts: Amounts;
  /** Whether the publish is confirmed; else the hold is released. */
  readonly publishes: boolean;
}

/** A gateway: reserve, publish; the publish is what makes a job accepted. */
export function* admit(suite: Suite, { jobId, apiKeyId, amounts, publishes }: Admission): Steps<void> {
  const { model, ledger, nowMs: acceptedAtMs } = suite;
  const job = { tenantId: TENANT, jobId, owner: 'gateway' };
  const outcome = yield* model.reserve({
    ...{ ...job, apiKeyId, model: 'm1', amounts, acceptedAtMs, holdTtlMs: HOLD_TTL_MS, facts: '' },
    scopes: scopesAt(PLAN, acceptedAtMs, apiKeyId, 'm1'),
  });
  suite.seen.add(outcome.outcome);
  if (outcome.outcome !== 'reserved') return;
  const publishedAtMs = yield 'publish';
  if (!publishes) {
    yield* model.release(job);
    return;
  }
  const expiresAtMs = publishedAtMs + HOLD_TTL_MS;
  ledger.set(jobId, { apiKeyId, model: 'm1', amounts, acceptedAtMs, expiresAtMs });
  model.confirm(yield 'confirm', job);
}

/** A collector: COMMIT, settle. Delivered as often as anybody likes. */
export function* collect(suite: Suite, jobId: string, used: Amounts): Steps<void> {
  yield 'commit';
  const job = suite.ledger.get(jobId);
  if (!job) return;
  const recorded = job.used ?? used;
  suite.ledger.set(jobId, { ...job, used: recorded });
  const settlement: Settlement = { tenantId: TENANT, jobId, ...recorded, outputTokens: 0, state: 'succeeded' };
  const outcome = suite.model.settle(yield 'settle', settlement);
  suite.seen.add(outcome);
  if (outcome === 'settled') suite.ended.set(jobId, (suite.ended.get(jobId) ?? 0) + 1);
}

/** A gateway that misses the tenant: begin, fence, read the records, load. */
export function* load(suite: Suite): Steps<void> {
  const { model, ledger } = suite;
  const begun = yield* model.beginLoad(TENANT, allScopes(PLAN, suite.nowMs));
  suite.seen.add(typeof begun === 'string' ? begun : 'begun');
  if (typeof begun === 'string') return;
  const before = [...suite.processes].filter(([, { admits }]) => admits !== undefined).map(([id]) => id);
  while (before.some((id) => suite.processes.has(id))) {
    yield 'fence';
    if (!model.keepLoad(suite.nowMs, begun)) return;
  }
  const readAtMs = yield 'read';
  const outcome = yield* loadOrFail(model, { ticket: begun, ...factsOf(ledger, PLAN, readAtMs) });
  suite.seen.add(outcome);
}

/** A load whose period has turned is tried again by who needs it. */
function* loadOrFail(model: QuotaModel, facts: Parameters<QuotaModel['load']>[0]): Steps<string> {
  try {
    return yield* model.load(facts);
  } catch {
    return 'turned';
  }
}

/** The sweeper: holds of jobs that the records do not know, and that nobody is about to publish. */
export function* sweep(suite: Suite): Steps<void> {
  const { model, ledger, processes } = suite;
  const found = yield* model.expiredHolds()({ limit: 9 });
  for (const hold of found) {
    const isUnderWay = [...processes.values()].some(({ admits }) => admits === hold.jobId);
    if (ledger.has(hold.jobId) || isUnderWay) continue;
    if (yield* model.dropHold(hold)) suite.seen.add('swept');
  }
}
