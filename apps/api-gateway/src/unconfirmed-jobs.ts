import { ServiceError, type AcceptedMessage } from '@sluice/contracts';
import type { Quota, Reservation } from '@sluice/quota';
import type { Logger } from '@sluice/runtime';
import type { AbandonedHolds } from './abandoned-holds.js';
import type { Flights } from './flights.js';
import type { JobClock } from './job-clock.js';
import type { JobPublisher } from './job-publisher.js';

/** A job whose publish has no known outcome. */
export interface UnconfirmedJob {
  readonly message: AcceptedMessage;
  /** What reserved it, or met it as the job of its Idempotency-Key. */
  readonly reservation: Reservation;
}

export interface UnconfirmedJobsOptions {
  readonly quota: Pick<Quota, 'reserve'>;
  readonly flights: Pick<Flights, 'track'>;
  readonly jobPublisher: Pick<JobPublisher, 'generation' | 'publishFact'>;
  readonly abandoned: Pick<AbandonedHolds, 'add'>;
  readonly clock: Pick<JobClock, 'now'>;
  readonly logger: Logger;
}

export interface UnconfirmedJobs {
  add(job: UnconfirmedJob): void;
  /** Jobs in doubt. */
  readonly size: number;
  /** Tries once more, then gives up. */
  stop(): Promise<void>;
}

const RETRY_DELAY_MS = 250;
/** Beyond this many it is left to the jobs' ends to bring the facts along. */
const MAX_JOBS = 10_000;

/**
 * Sees to it that a job which may be queued is known to the records.
 *
 * A broker that dies in the midst of a publish may have kept the work and lost the fact. The job then runs although nobody
 * knows of it before its end, and whoever loads the tenant meanwhile takes its hold and its key for those of a job that
 * never was. So the fact alone is published once more: whether the work is done a second time is the client's to say.
 * Without any work the job expires, unbilled.
 *
 * It is done as an admission is: in a flight, on the flight's connection, and only for a job that Redis still has; what has
 * been given away behind a fence that did not wait for this gateway must not come back.
 */
export function createUnconfirmedJobs(options: UnconfirmedJobsOptions): UnconfirmedJobs {
  const { quota, flights, jobPublisher, abandoned, clock, logger } = options;
  const waiting = new Map<string, UnconfirmedJob>();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  /** Rejects when it is to be tried again. */
  async function resolveDoubt({ message, reservation }: UnconfirmedJob): Promise<void> {
    const generation = jobPublisher.generation();
    const outcome = await quota.reserve(reservation);
    if (outcome.outcome === 'not_loaded') throw new ServiceError('quota_unavailable', 'The tenant is not loaded.');
    // Redis had lost it: what is reserved now is another hold, for nothing.
    if (outcome.outcome === 'reserved') return abandoned.add(reservation);
    const isHeld = outcome.outcome === 'exists' && outcome.snapshot?.state === 'reserved';
    if (isHeld && outcome.jobId === message.jobId) await jobPublisher.publishFact(message, generation);
  }

  async function tryAll(): Promise<void> {
    await Promise.all(
      [...waiting].map(async ([jobId, job]) => {
        try {
          await flights.track(() => resolveDoubt(job));
          waiting.delete(jobId);
        } catch (error) {
          if (clock.now() < job.message.expiresAtMs) return;
          waiting.delete(jobId);
          logger.warn({ err: error, jobId }, 'it stays unknown whether a job was queued; its deadline has passed');
        }
      }),
    );
    timer = undefined;
    schedule();
  }

  function schedule(): void {
    if (stopped || timer || waiting.size === 0) return;
    timer = setTimeout(() => void tryAll(), RETRY_DELAY_MS);
    timer.unref();
  }

  return {
    get size() {
      return waiting.size;
    },
    add({ message, reservation }) {
      if (waiting.size >= MAX_JOBS) return;
      // The records do not keep the input, and it may be large.
      waiting.set(message.jobId, { message: { ...message, input: '' }, reservation });
      schedule();
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      if (waiting.size > 0) await tryAll();
    },
  };
}
