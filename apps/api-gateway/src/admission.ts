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
import type { Limit, LimitStatus, Quota } from '@sluice/quota';
import { delay, type Logger } from '@sluice/runtime';
import type { Principal, Store } from '@sluice/store';
import type { Catalogue, PublicModel } from './catalogue.js';
import { invalidRequest } from './field-errors.js';
import { jobFromRecord, jobFromSnapshot, snapshotOf, type JobView } from './job-view.js';
import { refusal } from './refusal.js';
import { fingerprint, sha256, type Submission } from './submission.js';
import type { TenantLimits } from './tenant-limits.js';

export interface AdmissionOptions {
  readonly catalogue: Catalogue;
  readonly tenantLimits: TenantLimits;
  readonly quota: Pick<Quota, 'reserve' | 'release'>;
  readonly store: Pick<Store, 'findJob'>;
  readonly connection: Pick<BrokerConnection, 'state'>;
  readonly publisher: Pick<Publisher, 'publish'>;
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
/** How long a repeated request waits for the first one's job to be recorded before it publishes the job again. */
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
  const { catalogue, tenantLimits, quota, store, connection, publisher, logger } = options;

  async function reserve(principal: Principal, message: AcceptedMessage, rest: ReserveRest) {
    const request = {
      tenantId: principal.tenantId,
      jobId: message.jobId,
      cost: message.reservedTokens,
      holdTtlMs: options.jobTtlMs + HOLD_MARGIN_MS,
      snapshot: snapshotOf(message),
      ...rest,
    };
    const outcome = await quota.reserve(request);
    if (outcome.outcome !== 'not_loaded') return outcome;
    await tenantLimits.load(principal);
    return quota.reserve(request);
  }

  async function publish(message: AcceptedMessage, pool: string, owner: string): Promise<void> {
    try {
      await publisher.publish({
        exchange: EXCHANGES.submissions,
        routingKey: routingKey(pool, message.class),
        body: Buffer.from(JSON.stringify(message)),
        type: MESSAGE_TYPES.accepted,
        messageId: message.jobId,
      });
    } catch (error) {
      if (error instanceof ServiceError && error.code === 'publish_unconfirmed') throw error;
      const { tenantId, jobId } = message;
      await quota.release({ tenantId, jobId, owner }).catch((cause: unknown) => {
        logger.warn({ err: cause, jobId }, 'a hold could not be released; it is swept when it expires');
      });
      throw error;
    }
  }

  /** The job that an earlier request with this Idempotency-Key made; published once more if it may never have been. */
  async function resume(message: AcceptedMessage, snapshot: string, pool: string, owner: string): Promise<JobView> {
    const { tenantId, jobId } = message;
    for (let waitedMs = 0; waitedMs <= CONFIRM_WAIT_MS; waitedMs += CONFIRM_POLL_MS) {
      const record = await store.findJob(tenantId, jobId);
      if (record) return jobFromRecord(record);
      await delay(CONFIRM_POLL_MS);
    }
    const earlier = jobFromSnapshot(snapshot);
    await publish({ ...message, expiresAtMs: Date.parse(earlier.expiresAt) }, pool, owner);
    return earlier;
  }

  return async function admit({ principal, submission, idempotencyKey }) {
    if (connection.state !== 'connected') throw brokerDown();
    const model = catalogue.find(submission.model);
    const message = buildMessage(principal, submission, model, options.jobTtlMs);
    const limits = tenantLimits.of(principal);
    // The id minted for this very request; the job may turn out to be an earlier one's.
    const owner = message.jobId;
    const outcome = await reserve(principal, message, {
      owner,
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
        await publish(message, model.pool, owner);
        return { job: jobFromSnapshot(snapshotOf(message)), limits: outcome.limits };
      case 'exists': {
        const first = { ...message, jobId: outcome.jobId };
        return { job: await resume(first, outcome.snapshot, model.pool, owner), limits: outcome.limits };
      }
      case 'conflict':
        throw new ServiceError('idempotency_key_reused', 'This Idempotency-Key was used for a different request.', {
          fields: [{ field: 'Idempotency-Key', reason: 'belongs to a request with another body' }],
        });
      case 'refused':
        throw refusal(outcome, message.reservedTokens);
      case 'not_loaded':
        throw new ServiceError('quota_unavailable', 'Usage so far is being read.', { retryAfterSeconds: 1 });
      default:
        return outcome satisfies never;
    }
  };
}

interface ReserveRest {
  readonly owner: string;
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
