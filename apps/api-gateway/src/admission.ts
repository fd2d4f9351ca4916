import { jobIdTimeMs, ServiceError, type AcceptedMessage } from '@sluice/contracts';
import type { JobSnapshot, LimitStatus, Quota, Reservation, ReserveOutcome, ScopedLimits } from '@sluice/quota';
import { delay } from '@sluice/runtime';
import type { Principal } from '@sluice/store';
import { databaseSpan, within, type Span, type Trace } from '@sluice/telemetry';
import type { AbandonedHolds } from './abandoned-holds.js';
import type { Catalogue } from './catalogue.js';
import type { Flights } from './flights.js';
import type { GatewayMetrics } from './gateway-metrics.js';
import type { JobClock } from './job-clock.js';
import { countSubmission, type CountedSubmission, type JobMessages } from './job-message.js';
import type { JobPublisher, Queueing } from './job-publisher.js';
import { factsOf, openJob, readFacts, type JobView } from './job-view.js';
import type { LearnedEstimates } from './learned-estimates.js';
import { refusal } from './refusal.js';
import { keyReused, type Exists, type RepeatedRequests } from './repeated-requests.js';
import { fingerprint, sha256, type Submission } from './submission.js';
import type { TenantLimits } from './tenant-limits.js';
import type { TenantLoader } from './tenant-loader.js';

export interface AdmissionOptions {
  readonly catalogue: Catalogue;
  readonly messages: JobMessages;
  readonly tenantLimits: Pick<TenantLimits, 'of' | 'estimateOf'>;
  readonly loader: TenantLoader;
  readonly estimates: Pick<LearnedEstimates, 'observe'>;
  readonly clock: Pick<JobClock, 'now' | 'observe'>;
  readonly quota: Pick<Quota, 'reserve'>;
  readonly jobPublisher: JobPublisher;
  readonly repeated: RepeatedRequests;
  readonly flights: Pick<Flights, 'track'>;
  /** Takes holds that must be given back although Redis may be away. */
  readonly abandoned: Pick<AbandonedHolds, 'add'>;
  readonly idempotencyTtlMs: number;
  readonly metrics: Pick<GatewayMetrics, 'accepted' | 'repeated' | 'overLimit' | 'reserved' | 'reserveFailed'>;
}

export interface AdmissionRequest {
  readonly principal: Principal;
  readonly submission: Submission;
  /**
   * Within the tenant, the same key means the same job. n.b. a key from a client's header holds no space, so keys of the
   * suite's own, with a space in them, are never a client's.
   */
  readonly idempotencyKey: string | undefined;
  /** The dead job that this one runs again. */
  readonly replay?: NonNullable<AcceptedMessage['replay']>;
  /** What the job is a part of. */
  readonly trace?: Trace | undefined;
}

export interface Admitted {
  readonly job: JobView;
  /** The limits that applied. */
  readonly scopes: readonly ScopedLimits[];
  /** State of each limit after the reservation; empty for a job that only its record knows. */
  readonly limits: readonly LimitStatus[];
}

export type Admission = (request: AdmissionRequest) => Promise<Admitted>;

/** A hold outlives its job's deadline by this much, so that a job that ran to the last moment still settles. */
const HOLD_MARGIN_MS = 300_000;
/** A tenant that was loaded may be unloaded before the next flight, and a job that was in doubt be forgotten. */
const MAX_FLIGHTS = 6;
/** A new id is minted at the latest then, for Redis' answer has set a wrong clock right. */
const STALE_WAIT_MS = 100;

/** What a flight came to: an answer, or what has to be done before another one. */
type Flight =
  | Admitted
  | 'not_loaded'
  | { readonly staleForMs: number }
  | { readonly exists: Exists; readonly scopes: readonly ScopedLimits[] };

/**
 * Admits a job: reserve, publish, answer. Every way in (HTTP, AMQP, replays) goes through this one function.
 *
 * ```
 * flight: reserve ─refused─▶ 429, nothing consumed
 *            │ └─not loaded─▶ load the tenant, then a new flight
 *            │ └─stale─▶ Redis is in another day or month than the job's id: a new flight, with a new id
 *            │ └─key unknown─▶ look in the records: that job, or reserve again
 *            │ └─exists─▶ wait until it is known to be queued: that job; else a new flight that publishes it again
 *            │ reserved
 *         publish ─certainly not queued─▶ release, 503
 *            │    └─outcome unknown─────▶ the hold stays (the job may run), 503; the same Idempotency-Key finds out
 *            ▼ confirmed
 *           202
 * ```
 *
 * A fence waits for the flights that are under way, so between a flight's beginning and its end no load can take place
 * that does not know of it; and a flight publishes only on the connection on which it began. What waits for a load must
 * therefore never be in a flight.
 *
 * @throws ServiceError with the code of what went wrong.
 */
export function createAdmission(options: AdmissionOptions): Admission {
  const { catalogue, tenantLimits, loader, clock, quota, jobPublisher, repeated, flights, abandoned, metrics } =
    options;

  function reserve(reservation: Reservation, trace: Trace | undefined): Promise<ReserveOutcome> {
    const span = trace?.span;
    if (span === undefined) return reserveNow(reservation);
    const recorded = async (part: Span | undefined): Promise<ReserveOutcome> => {
      const outcome = await reserveNow(reservation);
      part?.set({ 'sluice.reserve.outcome': outcome.outcome });
      return outcome;
    };
    return within(span, 'reserve', recorded, databaseSpan('redis', 'reserve'));
  }

  async function reserveNow(reservation: Reservation): Promise<ReserveOutcome> {
    const sentAtMs = performance.now();
    try {
      const outcome = await quota.reserve(reservation);
      metrics.reserved(performance.now() - sentAtMs, outcome.outcome === 'reserved');
      if ('nowMs' in outcome) clock.observe(outcome.nowMs, sentAtMs);
      if ('learned' in outcome && outcome.learned) {
        options.estimates.observe(reservation.tenantId, reservation.model, outcome.learned);
      }
      return outcome;
    } catch (error) {
      // The script may have run although its answer was lost.
      abandoned.add(reservation);
      metrics.reserveFailed();
      throw error;
    }
  }

  async function publishFirst(message: AcceptedMessage, queueing: Queueing): Promise<void> {
    try {
      await jobPublisher.publish(message, queueing);
    } catch (error) {
      const unknown = error instanceof ServiceError && error.code === 'publish_unconfirmed';
      if (!unknown) abandoned.add({ tenantId: message.tenantId, jobId: message.jobId, owner: message.jobId });
      throw error;
    }
  }

  /**
   * A job that an earlier request reserved and that is not known to be queued is published again, under the same id: twice in
   * the queue is harmless, not at all would be a lost job. A failure here never releases the hold, because the earlier
   * publish may have succeeded.
   */
  async function publishAgain(
    { principal, submission }: CountedSubmission,
    { facts: text }: JobSnapshot,
    queueing: Queueing,
  ): Promise<JobView> {
    const facts = readFacts(text);
    const message = { ...facts, tenantId: principal.tenantId, input: submission.input };
    await jobPublisher.publish(message, queueing);
    repeated.confirm(message);
    return openJob(facts, 'queued');
  }

  /** The job that the records have where Redis does not know enough. */
  async function lookUp(message: AcceptedMessage, outcome: ReserveOutcome): Promise<JobView | undefined> {
    if (outcome.outcome === 'key_unknown') return repeated.recorded(message);
    if (outcome.outcome !== 'exists' || outcome.snapshot) return undefined;
    return repeated.recordedAs(message.tenantId, outcome.jobId);
  }

  /** @param inDoubt whether a job that exists was waited for and is not known to be queued. */
  async function fly({ counted, given, trace }: Passenger, inDoubt: boolean): Promise<Flight> {
    const generation = jobPublisher.generation();
    const { principal, model } = counted;
    const queueing: Queueing = { pool: model.pool, generation, trace };
    const message: AcceptedMessage = { ...options.messages(counted), ...given };
    const scopes = tenantLimits.of(principal, model.name);
    const reservation = reservationOf(message, scopes, counted);
    let outcome = await reserve(reservation, trace);
    if (outcome.outcome === 'key_unknown' || (outcome.outcome === 'exists' && !outcome.snapshot)) {
      const job = await lookUp(message, outcome);
      if (job) {
        metrics.repeated();
        return { job, scopes, limits: 'limits' in outcome ? outcome.limits : [] };
      }
      // Nobody can have used the key meanwhile without Redis knowing of it: a load in between ends in `not_loaded`.
      outcome = await reserve(withCheckedKey(reservation), trace);
    }
    switch (outcome.outcome) {
      case 'reserved':
        await publishFirst(message, queueing);
        metrics.accepted(message);
        // Only a request with an Idempotency-Key can be repeated, so only its job needs the mark.
        if (given.idempotency) repeated.confirm(message);
        return { job: openJob(message, 'queued'), scopes, limits: outcome.limits };
      case 'exists': {
        const { snapshot, limits } = outcome;
        if (!snapshot) throw unavailable('The job of this Idempotency-Key is not recorded yet.');
        // n.b. what is reserved is held: a load in between would have dropped a hold that is not to be published any more.
        if (!inDoubt || snapshot.state !== 'reserved') return { exists: { ...outcome, snapshot }, scopes };
        const job = await publishAgain(counted, snapshot, queueing);
        metrics.repeated();
        return { job, scopes, limits };
      }
      case 'refused':
        metrics.overLimit(outcome.limit);
        throw refusal(outcome, message, scopes);
      case 'conflict':
        throw keyReused();
      case 'stale':
        return { staleForMs: outcome.clearsInMs };
      case 'not_loaded':
      case 'key_unknown':
        return 'not_loaded';
      default:
        return outcome satisfies never;
    }
  }

  function reservationOf(
    message: AcceptedMessage,
    scopes: readonly ScopedLimits[],
    { principal, maxOutputTokens }: CountedSubmission,
  ): Reservation {
    const { tenantId, jobId, apiKeyId, model, idempotency } = message;
    const estimate = tenantLimits.estimateOf(principal);
    return {
      tenantId,
      jobId,
      // The id minted for this very request; the job may turn out to be an earlier one's.
      owner: jobId,
      apiKeyId,
      model,
      amounts: { tokens: message.reservedTokens, nanoUsd: message.reservedNanoUsd ?? 0 },
      scopes,
      acceptedAtMs: jobIdTimeMs(jobId),
      holdTtlMs: message.expiresAtMs - clock.now() + HOLD_MARGIN_MS,
      facts: factsOf(message),
      learn: maxOutputTokens > 0,
      ...(maxOutputTokens > 0 && estimate !== 'exact' && { quantile: estimate.quantile }),
      ...(idempotency && { idempotency: { ...idempotency, ttlMs: options.idempotencyTtlMs } }),
    };
  }

  function count(principal: Principal, submission: Submission, trace: Trace | undefined): CountedSubmission {
    const part = trace?.span?.child('count tokens');
    try {
      return countSubmission(principal, submission, catalogue.find(submission.model));
    } finally {
      part?.end();
    }
  }

  return async function admit({ principal, submission, idempotencyKey, replay, trace }) {
    jobPublisher.generation(); // Before the tokens are counted, which takes longer.
    const counted = count(principal, submission, trace);
    const given: GivenFacts = {
      ...(idempotencyKey !== undefined && {
        idempotency: { keyHash: sha256(idempotencyKey), fingerprint: fingerprint(submission) },
      }),
      ...(replay && { replay }),
    };
    const passenger: Passenger = { counted, given, trace };
    let inDoubt = false;
    for (let count = 0; count < MAX_FLIGHTS; count++) {
      const flight = await flights.track(() => fly(passenger, inDoubt));
      if (flight === 'not_loaded') {
        await within(trace?.span, 'load tenant', () => loader.load(principal));
        continue;
      }
      if ('staleForMs' in flight) {
        await delay(Math.min(flight.staleForMs + 1, STALE_WAIT_MS));
        continue;
      }
      if (!('exists' in flight)) return flight;
      const { exists, scopes } = flight;
      const job = await repeated.queued(principal.tenantId, exists);
      if (job) {
        metrics.repeated();
        return { job, scopes, limits: exists.limits };
      }
      inDoubt = true;
    }
    throw unavailable('Usage so far is being read.');
  };
}

function unavailable(detail: string): ServiceError {
  return new ServiceError('quota_unavailable', detail, { retryAfterSeconds: 1 });
}

type GivenFacts = Pick<AcceptedMessage, 'idempotency' | 'replay'>;

/** What is to be admitted, in as many flights as that takes. */
interface Passenger {
  readonly counted: CountedSubmission;
  readonly given: GivenFacts;
  readonly trace: Trace | undefined;
}

function withCheckedKey(reservation: Reservation): Reservation {
  const { idempotency } = reservation;
  return idempotency ? { ...reservation, idempotency: { ...idempotency, checked: true } } : reservation;
}
