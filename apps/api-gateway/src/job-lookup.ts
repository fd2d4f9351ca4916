import { askedOf, isTerminal, jobIdTimeMs, type AcceptedMessage, type AskedFacts } from '@sluice/contracts';
import type { JobSnapshot, Quota } from '@sluice/quota';
import type { Store } from '@sluice/store';
import { jobFromRecord, openJob, readFacts, type JobView } from './job-view.js';

export interface JobLookupOptions {
  readonly quota: Pick<Quota, 'snapshot'>;
  readonly store: Pick<Store, 'findJob'>;
  /** Unix milliseconds, by the clock of job ids. */
  readonly now: () => number;
}

/** Whose a job is and what is held for it. */
export type JobAccount = Pick<
  AcceptedMessage,
  'jobId' | 'apiKeyId' | 'model' | 'class' | 'reservedTokens' | 'reservedNanoUsd' | 'expiresAtMs'
> & {
  /** What it asked for; absent where the records have it. */
  readonly accepted?: AskedFacts;
};

export interface FoundJob {
  readonly view: JobView;
  readonly account: JobAccount;
}

export interface LookupOptions {
  /** For waiting on, not for telling: what Redis says of a young job that is open is taken as it is. */
  readonly quick?: boolean;
}

/**
 * A tenant's own job; undefined when it has none by that id. Redis knows a young job first, PostgreSQL every job that is
 * recorded, and its end. Redis may be behind: an end is recorded before it is settled, and a Redis may come back with data of
 * before its end. So that a job which was told to have ended is never told to be open again, the records are asked as well,
 * and while they are away nothing is told.
 *
 * @throws ServiceError `store_unavailable` when PostgreSQL cannot say.
 */
export type JobLookup = (tenantId: string, jobId: string, options?: LookupOptions) => Promise<FoundJob | undefined>;

/** A snapshot may outlive the hold it belongs to when Redis loses memory; an older job is always looked up. */
const TRUST_SNAPSHOT_MS = 30_000;

export function createJobLookup({ quota, store, now }: JobLookupOptions): JobLookup {
  return async function find(tenantId, jobId, { quick = false } = {}) {
    // n.b. without Redis the record alone answers, at most the collector's delay behind.
    const snapshot = await quota.snapshot(tenantId, jobId).catch(() => undefined);
    const open = snapshot !== undefined && isOpen(snapshot.state);
    const waiting = snapshot && fromSnapshot(snapshot);
    if (open && quick && now() - jobIdTimeMs(jobId) < TRUST_SNAPSHOT_MS) return waiting;
    const record = await store.findJob(tenantId, jobId);
    // The end may be recorded a moment before the beginning: collectors compete. Until both are there it is queued.
    if (!record) return waiting;
    const view = jobFromRecord(record);
    return {
      view: snapshot?.state === 'running' && !isTerminal(view.state) ? { ...view, state: 'running' } : view,
      account: record,
    };
  };
}

function isOpen(state: JobSnapshot['state']): boolean {
  return state === 'reserved' || state === 'queued' || state === 'running';
}

function fromSnapshot({ state, facts: text }: JobSnapshot): FoundJob {
  const facts = readFacts(text);
  const account = { ...facts, accepted: askedOf(facts) };
  return { view: openJob(facts, state === 'running' ? 'running' : 'queued'), account };
}
