import { isTerminal, ServiceError, type AcceptedMessage } from '@sluice/contracts';
import type { JobSnapshot, Quota, ReserveOutcome } from '@sluice/quota';
import { delay, type Logger } from '@sluice/runtime';
import type { Store } from '@sluice/store';
import type { JobClock } from './job-clock.js';
import { jobFromRecord, openJob, readFacts, type JobView } from './job-view.js';

/** The answer of a reserve that met the job of an earlier request, whose snapshot is known. */
export type Exists = Extract<ReserveOutcome, { outcome: 'exists' }> & { readonly snapshot: JobSnapshot };

export interface RepeatedRequestsOptions {
  readonly quota: Pick<Quota, 'confirm' | 'snapshot'>;
  readonly store: Pick<Store, 'findJob' | 'findJobByKey'>;
  readonly clock: Pick<JobClock, 'now'>;
  readonly idempotencyTtlMs: number;
  readonly logger: Logger;
}

/** What becomes of requests that are sent again with the same Idempotency-Key. */
export interface RepeatedRequests {
  /** Notes, in the background, that the publish of a job was confirmed, so that a repeated request need not doubt it. */
  confirm(job: Pick<AcceptedMessage, 'tenantId' | 'jobId'>): void;
  /**
   * The job that the records have under the message's key, which Redis may have lost.
   *
   * @throws ServiceError `idempotency_key_reused` when it belongs to another request, or `store_unavailable`.
   */
  recorded(message: AcceptedMessage): Promise<JobView | undefined>;
  /** A job as the records have it. @throws ServiceError `store_unavailable`. */
  recordedAs(tenantId: string, jobId: string): Promise<JobView | undefined>;
  /**
   * The job that an earlier request made, once it is known to be queued, or to have ended. Undefined when that stays in doubt, or the job is
   * forgotten meanwhile. Waits, so it is not to be called within a flight.
   */
  queued(tenantId: string, exists: Exists): Promise<JobView | undefined>;
}

/** How long a repeated request waits for the first one's publish to be confirmed before it publishes the job again. */
const CONFIRM_WAIT_MS = 1_000;
const CONFIRM_POLL_MS = 50;

export function createRepeatedRequests(options: RepeatedRequestsOptions): RepeatedRequests {
  const { quota, store, clock, idempotencyTtlMs, logger } = options;

  function confirm({ tenantId, jobId }: Pick<AcceptedMessage, 'tenantId' | 'jobId'>): void {
    quota.confirm({ tenantId, jobId }).catch((error: unknown) => {
      logger.debug({ err: error, jobId }, 'a confirm was not noted; a repeated request publishes the job again');
    });
  }

  /** Waits until the job's publish was confirmed, or long enough to doubt it. */
  async function confirmedState(tenantId: string, { snapshot, jobId }: Exists) {
    let state: JobSnapshot['state'] | undefined = snapshot.state;
    for (let waitedMs = 0; state === 'reserved' && waitedMs < CONFIRM_WAIT_MS; waitedMs += CONFIRM_POLL_MS) {
      await delay(CONFIRM_POLL_MS);
      state = (await quota.snapshot(tenantId, jobId))?.state;
    }
    return state;
  }

  async function recordedAs(tenantId: string, jobId: string): Promise<JobView | undefined> {
    const record = await store.findJob(tenantId, jobId);
    return record && jobFromRecord(record);
  }

  /**
   * The job, if the records have its end: Redis may be behind. Without them a repeated submission is answered all the same, with
   * what Redis knows.
   */
  async function recordedEnd(tenantId: string, jobId: string): Promise<JobView | undefined> {
    const job = await recordedAs(tenantId, jobId).catch((error: unknown) => {
      if (error instanceof ServiceError && error.code === 'store_unavailable') return undefined;
      throw error;
    });
    return job && isTerminal(job.state) ? job : undefined;
  }

  return {
    confirm,
    recordedAs,

    async recorded({ tenantId, idempotency }) {
      if (!idempotency) return undefined;
      const sinceMs = clock.now() - idempotencyTtlMs;
      const found = await store.findJobByKey({ tenantId, keyHash: idempotency.keyHash, sinceMs });
      if (!found) return undefined;
      if (found.fingerprint !== idempotency.fingerprint) throw keyReused();
      return recordedAs(tenantId, found.jobId);
    },

    async queued(tenantId, exists) {
      const state = await confirmedState(tenantId, exists);
      const facts = readFacts(exists.snapshot.facts);
      const open = state === 'queued' || state === 'running';
      if (open || state === 'reserved') {
        const ended = await recordedEnd(tenantId, facts.jobId);
        return ended ?? (open ? openJob(facts, state) : undefined);
      }
      if (state === undefined) return undefined;
      return (await recordedAs(tenantId, facts.jobId)) ?? openJob(facts, 'queued');
    },
  };
}

/** The key belongs to a request with another fingerprint. */
export function keyReused(): ServiceError {
  return new ServiceError('idempotency_key_reused', 'This Idempotency-Key was used for a different request.', {
    fields: [{ field: 'Idempotency-Key', reason: 'belongs to a request with another body' }],
  });
}
