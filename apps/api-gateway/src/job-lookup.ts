import { isTerminal, jobIdTimeMs, type AcceptedMessage } from '@sluice/contracts';
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
>;

export interface FoundJob {
  readonly view: JobView;
  readonly account: JobAccount;
}

/**
 * A tenant's own job; undefined when it has none by that id. Redis knows a young job first, PostgreSQL every job that is
 * recorded, and its end.
 *
 * @throws ServiceError `store_unavailable` when only PostgreSQL could know.
 */
export type JobLookup = (tenantId: string, jobId: string) => Promise<FoundJob | undefined>;

/** A snapshot may outlive the hold it belongs to when Redis loses memory; an older job is looked up as well. */
const TRUST_SNAPSHOT_MS = 30_000;

export function createJobLookup({ quota, store, now }: JobLookupOptions): JobLookup {
  return async function find(tenantId, jobId) {
    // n.b. without Redis the record alone answers, at most the collector's delay behind.
    const snapshot = await quota.snapshot(tenantId, jobId).catch(() => undefined);
    const open = snapshot !== undefined && isOpen(snapshot.state);
    const waiting = snapshot && fromSnapshot(snapshot);
    if (open && now() - jobIdTimeMs(jobId) < TRUST_SNAPSHOT_MS) return waiting;
    const record = await store.findJob(tenantId, jobId).catch((error: unknown) => {
      if (open) return undefined;
      throw error;
    });
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
  return { view: openJob(facts, state === 'running' ? 'running' : 'queued'), account: facts };
}
