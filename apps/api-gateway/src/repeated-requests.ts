import { ServiceError, type AcceptedMessage } from '@sluice/contracts';
import type { JobSnapshot, Quota, ReserveOutcome } from '@sluice/quota';
import { delay, type Logger } from '@sluice/runtime';
import type { Store } from '@sluice/store';
import type { Flights } from './flights.js';
import type { JobClock } from './job-clock.js';
import type { CountedSubmission } from './job-message.js';
import { brokerDown, type JobPublisher } from './job-publisher.js';
import { jobFromRecord, openJob, readFacts, type JobView, type SubmissionFacts } from './job-view.js';

/** The answer of a reserve that met the job of an earlier request. */
export type Exists = Extract<ReserveOutcome, { outcome: 'exists' }>;

export interface RepeatedRequestsOptions {
  readonly quota: Pick<Quota, 'confirm' | 'snapshot'>;
  readonly store: Pick<Store, 'findJob' | 'findJobByKey'>;
  readonly jobPublisher: JobPublisher;
  readonly flights: Pick<Flights, 'track'>;
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
  /**
   * The job that an earlier request made. Unless it is known to be queued it is published again, under the same id:
   * twice in the queue is harmless, not at all would be a lost job. A failure here never releases the hold, because the
   * earlier publish may have succeeded. Not to be called within a flight.
   */
  resume(counted: CountedSubmission, exists: Exists): Promise<JobView>;
}

/** How long a repeated request waits for the first one's publish to be confirmed before it publishes the job again. */
const CONFIRM_WAIT_MS = 1_000;
const CONFIRM_POLL_MS = 50;

export function createRepeatedRequests(options: RepeatedRequestsOptions): RepeatedRequests {
  const { quota, store, jobPublisher, flights, clock, idempotencyTtlMs, logger } = options;

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

  async function known(tenantId: string, facts: SubmissionFacts, state: JobSnapshot['state'] | undefined) {
    // Released meanwhile: the first request's publish certainly failed.
    if (state === undefined) throw brokerDown();
    if (state === 'queued' || state === 'running') return openJob(facts, state);
    const record = await store.findJob(tenantId, facts.jobId);
    return record ? jobFromRecord(record) : openJob(facts, 'queued');
  }

  return {
    confirm,

    async recorded({ tenantId, idempotency }) {
      if (!idempotency) return undefined;
      const sinceMs = clock.now() - idempotencyTtlMs;
      const found = await store.findJobByKey({ tenantId, keyHash: idempotency.keyHash, sinceMs });
      if (!found) return undefined;
      if (found.fingerprint !== idempotency.fingerprint) throw keyReused();
      const record = await store.findJob(tenantId, found.jobId);
      return record && jobFromRecord(record);
    },

    async resume(counted, exists) {
      const { tenantId } = counted.principal;
      const facts = readFacts(exists.snapshot.facts);
      const state = await confirmedState(tenantId, exists);
      if (state !== 'reserved') return known(tenantId, facts, state);
      return flights.track(async () => {
        const generation = jobPublisher.generation();
        // n.b. asked for again within the flight: if Redis was lost before it, there is nothing to publish any more.
        const latest = (await quota.snapshot(tenantId, facts.jobId))?.state;
        if (latest !== 'reserved') return known(tenantId, facts, latest);
        const message = { ...facts, tenantId, input: counted.submission.input };
        await jobPublisher.publish(message, counted.model.pool, generation);
        confirm(message);
        return openJob(facts, 'queued');
      });
    },
  };
}

/** The key belongs to a request with another fingerprint. */
export function keyReused(): ServiceError {
  return new ServiceError('idempotency_key_reused', 'This Idempotency-Key was used for a different request.', {
    fields: [{ field: 'Idempotency-Key', reason: 'belongs to a request with another body' }],
  });
}
