import {
  EXCHANGES,
  inputTexts,
  MESSAGE_TYPES,
  newJobId,
  routingKey,
  ServiceError,
  type AcceptedMessage,
  type JobInput,
} from '@sluice/contracts';
import type { BrokerConnection, Publisher } from '@sluice/broker';
import type { JobSnapshot, Limit, LimitStatus, Quota, Reservation } from '@sluice/quota';
import { delay, type Logger } from '@sluice/runtime';
import type { Principal, Store } from '@sluice/store';
import type { AbandonedHolds } from './abandoned-holds.js';
import type { Catalogue, PublicModel } from './catalogue.js';
import { invalidRequest } from './field-errors.js';
import { factsOf, jobFromRecord, queuedJob, readFacts, type JobView, type SubmissionFacts } from './job-view.js';
import { refusal } from './refusal.js';
import { fingerprint, sha256, type Submission } from './submission.js';
import type { TenantLimits } from './tenant-limits.js';

export interface AdmissionOptions {
  readonly catalogue: Catalogue;
  readonly tenantLimits: TenantLimits;
  readonly quota: Pick<Quota, 'reserve' | 'confirm' | 'snapshot'>;
  readonly store: Pick<Store, 'findJob'>;
  readonly connection: Pick<BrokerConnection, 'state'>;
  readonly publisher: Pick<Publisher, 'publish'>;
  /** Takes holds that must be given back although Redis may be away. */
  readonly abandoned: Pick<AbandonedHolds, 'add'>;
  readonly jobTtlMs: number;
  readonly idempotencyTtlMs: number;
  readonly logger: Logger;
}

export interface AdmissionRequest {
  readonly principal: Principal;
  readonly submission: Submission;
  readonly idempotencyKey: string | undefined;
}

export interface Admitted {
  readonly job: JobView;
  /** State of each limit after the reservation. */
  readonly limits: readonly LimitStatus[];
}

export type Admission = (request: AdmissionRequest) => Promise<Admitted>;

/** A hold outlives its job's deadline by this much, so that a job that ran to the last moment still settles. */
const HOLD_MARGIN_MS = 300_000;
/** How long a repeated request waits for the first one's publish to be confirmed before it publishes the job again. */
const CONFIRM_WAIT_MS = 1_000;
const CONFIRM_POLL_MS = 50;

/**
 * Admits a job: reserve, publish, answer. Every way in (HTTP now, AMQP later) goes through this one function.
 *
 * ```
 * reserve ─refused─▶ 429, nothing consumed
 *    │ reserved
 * publish ─certainly not queued─▶ release, 503
 *    │    └─outcome unknown─────▶ the hold stays (the job may run), 503; the same Idempotency-Key finds out
 *    ▼ confirmed
 *   202
 * ```
 *
 * @throws ServiceError with the code of what went wrong.
 */
export function createAdmission(options: AdmissionOptions): Admission {
  const { catalogue, tenantLimits, quota, store, connection, publisher, abandoned, logger } = options;

  async function reserve(principal: Principal, message: AcceptedMessage, rest: ReserveRest) {
    const { tenantId } = principal;
    const request = {
      tenantId,
      jobId: message.jobId,
      // The id minted for this very request; the job may turn out to be an earlier one's.
      owner: message.jobId,
      cost: message.reservedTokens,
      holdTtlMs: options.jobTtlMs + HOLD_MARGIN_MS,
      facts: factsOf(message),
      ...rest,
    };
    const outcome = await reserveOnce(request);
    if (outcome.outcome !== 'not_loaded') return outcome;
    await tenantLimits.load(principal);
    return reserveOnce(request);
  }

  async function reserveOnce(request: Reservation) {
    try {
      return await quota.reserve(request);
    } catch (error) {
      // The script may have run although its answer was lost.
      abandoned.add(request);
      throw error;
    }
  }

  async function publish(message: AcceptedMessage, pool: string): Promise<void> {
    await publisher.publish({
      exchange: EXCHANGES.submissions,
      routingKey: routingKey(pool, message.class),
      body: Buffer.from(JSON.stringify(message)),
      type: MESSAGE_TYPES.accepted,
      messageId: message.jobId,
    });
  }

  async function publishFirst(message: AcceptedMessage, pool: string): Promise<void> {
    try {
      await publish(message, pool);
    } catch (error) {
      const unknown = error instanceof ServiceError && error.code === 'publish_unconfirmed';
      if (!unknown) abandoned.add({ tenantId: message.tenantId, jobId: message.jobId, owner: message.jobId });
      throw error;
    }
  }

  /** Only a request with an Idempotency-Key can be repeated, so only its job needs the mark. */
  function confirm({ tenantId, jobId }: AcceptedMessage): void {
    quota.confirm({ tenantId, jobId }).catch((error: unknown) => {
      logger.debug({ err: error, jobId }, 'a confirm was not noted; a repeated request publishes the job again');
    });
  }

  async function known(tenantId: string, facts: SubmissionFacts): Promise<JobView> {
    const record = await store.findJob(tenantId, facts.jobId);
    return record ? jobFromRecord(record) : queuedJob(facts);
  }

  /**
   * The job that an earlier request with this Idempotency-Key made. Unless it is known to be queued it is published
   * again, under the same id: twice in the queue is harmless, not at all would be a lost job. A failure here never
   * releases the hold, because the earlier publish may have succeeded.
   */
  async function resume(tenantId: string, snapshot: JobSnapshot, input: JobInput, pool: string): Promise<JobView> {
    const facts = readFacts(snapshot.facts);
    let state: JobSnapshot['state'] | undefined = snapshot.state;
    for (let waitedMs = 0; state === 'reserved' && waitedMs < CONFIRM_WAIT_MS; waitedMs += CONFIRM_POLL_MS) {
      await delay(CONFIRM_POLL_MS);
      state = (await quota.snapshot(tenantId, facts.jobId))?.state;
    }
    // Released meanwhile: the first request's publish certainly failed.
    if (state === undefined) throw brokerDown();
    if (state === 'queued') return queuedJob(facts);
    if (state !== 'reserved') return known(tenantId, facts);
    const message = { ...facts, tenantId, input };
    await publish(message, pool);
    confirm(message);
    return queuedJob(facts);
  }

  return async function admit({ principal, submission, idempotencyKey }) {
    if (connection.state !== 'connected') throw brokerDown();
    const model = catalogue.find(submission.model);
    const message = buildMessage(principal, submission, model, options.jobTtlMs);
    const limits = tenantLimits.of(principal);
    const outcome = await reserve(principal, message, {
      limits,
      ...(idempotencyKey !== undefined && {
        idempotency: {
          keyHash: sha256(idempotencyKey),
          fingerprint: fingerprint(submission),
          ttlMs: options.idempotencyTtlMs,
        },
      }),
    });

    switch (outcome.outcome) {
      case 'reserved':
        await publishFirst(message, model.pool);
        if (idempotencyKey !== undefined) confirm(message);
        return { job: queuedJob(message), limits: outcome.limits };
      case 'exists': {
        const job = await resume(principal.tenantId, outcome.snapshot, submission.input, model.pool);
        return { job, limits: outcome.limits };
      }
      case 'conflict':
        throw new ServiceError('idempotency_key_reused', 'This Idempotency-Key was used for a different request.', {
          fields: [{ field: 'Idempotency-Key', reason: 'belongs to a request with another body' }],
        });
      case 'refused':
        throw refusal(outcome, message.reservedTokens, limits);
      case 'not_loaded':
        throw new ServiceError('quota_unavailable', 'Usage so far is being read.', { retryAfterSeconds: 1 });
      default:
        return outcome satisfies never;
    }
  };
}

interface ReserveRest {
  readonly limits: readonly Limit[];
  readonly idempotency?: { readonly keyHash: string; readonly fingerprint: string; readonly ttlMs: number };
}

function brokerDown(): ServiceError {
  return new ServiceError('broker_unavailable', 'The queue cannot be reached; nothing was reserved.', {
    retryAfterSeconds: 1,
  });
}

function buildMessage(
  principal: Principal,
  submission: Submission,
  model: PublicModel,
  jobTtlMs: number,
): AcceptedMessage {
  if (!model.classes.includes(submission.class)) {
    const reason = `the model serves ${model.classes.join(', ')}`;
    throw invalidRequest([{ field: 'class', reason }]);
  }
  const texts = inputTexts(submission.input);
  const inputTokens = countTokens(submission.input, model);
  const perText = Math.min(submission.maxOutputTokens ?? model.facts.maxOutputTokens, model.facts.maxOutputTokens);
  const maxOutputTokens = perText * texts.length;
  return {
    jobId: newJobId(),
    tenantId: principal.tenantId,
    apiKeyId: principal.apiKeyId,
    model: model.name,
    class: submission.class,
    input: submission.input,
    inputTokens,
    maxOutputTokens,
    reservedTokens: inputTokens + maxOutputTokens,
    expiresAtMs: Date.now() + jobTtlMs,
    ...(submission.metadata && { metadata: submission.metadata }),
  };
}

/** @throws ServiceError `input_too_long` or `invalid_request`, naming the text. */
function countTokens(input: JobInput, model: PublicModel): number {
  const { maxInputTokens } = model.facts;
  return inputTexts(input).reduce((total, text, index) => {
    const field = typeof input === 'string' ? 'input' : `input.${index}`;
    const tokens = model.tokenizer.count(text);
    if (tokens === 0) throw invalidRequest([{ field, reason: 'has no tokens' }]);
    if (tokens > maxInputTokens) {
      throw new ServiceError(
        'input_too_long',
        `${field} has ${tokens} tokens; ${model.name} takes ${maxInputTokens}.`,
        {
          fields: [{ field, reason: `has ${tokens} tokens, at most ${maxInputTokens} are allowed` }],
          extensions: { inputTokens: tokens, maxInputTokens },
        },
      );
    }
    return total + tokens;
  }, 0);
}
