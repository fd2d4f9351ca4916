import {
  ack,
  createConsumer,
  dead,
  publishIn,
  retry,
  UnroutableError,
  type BrokerConnection,
  type Consumer,
  type Delivery,
  type Publisher,
  type Settlement,
} from '@sluice/broker';
import {
  INGEST_TYPES,
  isReservedQueue,
  isServiceError,
  MESSAGE_ID,
  QUEUES,
  ServiceError,
  type ErrorCode,
} from '@sluice/contracts';
import { delay, type Logger, type Service } from '@sluice/runtime';
import { messageSpan, type Trace } from '@sluice/telemetry';
import type { Admission } from './admission.js';
import { acceptedAttributes, type CallerTraces } from './caller-traces.js';
import { invalidRequest } from './field-errors.js';
import type { GatewayMetrics } from './gateway-metrics.js';
import { refusalFacts, replyMessage, type Answer } from './ingest-answer.js';
import type { JobView } from './job-view.js';
import { parseJsonBody } from './middleware/json-body.js';
import type { Producers } from './producers.js';
import { parseSubmission, type SubmissionBounds } from './submission.js';

export interface IngestOptions {
  /** For consuming; not the one that publishes, which the broker may block. */
  readonly connection: BrokerConnection;
  readonly publisher: Publisher;
  readonly producers: Producers;
  readonly admission: Admission;
  readonly bounds: SubmissionBounds;
  readonly maxBodyBytes: number;
  /** Most submissions at work here at once. */
  readonly prefetch: number;
  readonly metrics: Pick<GatewayMetrics, 'ingested' | 'refused'>;
  /** How long trouble of our own is waited out before it is told to the producer, in milliseconds; 30 s when absent. */
  readonly patienceMs?: number;
  readonly traces: CallerTraces;
  readonly logger: Logger;
}

export interface Ingest extends Service {
  /** The broker delivers submissions. */
  readonly attached: boolean;
}

/** What may pass by itself within seconds; anything else is the producer's to mend or to wait for. */
const PASSING: ReadonlySet<ErrorCode> = new Set([
  'quota_unavailable',
  'broker_unavailable',
  'store_unavailable',
  'publish_unconfirmed',
]);
const PATIENCE_MS = 30_000;
const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 5_000;
/** Until an answer that could not be published is tried again; the submission then finds its job by its message id. */
const REPLY_RETRY_MS = 1_000;

/**
 * Submissions of other services: consumes the queue `ingest` and admits each message as HTTP admits a request.
 *
 * ```
 * delivery ─▶ who, which id, which job? ─▶ admission ─▶ answer to reply_to ─confirmed─▶ ack
 *                  │ refused                   │ refused         └─routed nowhere─▶ log, ack
 *                  └──────────────┬────────────┘
 *                     problem to reply_to, ack; without reply_to: dead letter
 * ```
 *
 * At least once: a message that is delivered again, and one that its producer sent again, finds its job by the message
 * id, which is the idempotency key `amqp <message_id>` (with a space, so that no HTTP client can send it).
 */
export function createIngest(options: IngestOptions): Ingest {
  const { publisher, producers, admission, bounds, maxBodyBytes, metrics, traces, patienceMs = PATIENCE_MS } = options;
  const logger = options.logger.child({ part: 'ingest' });
  const stopping = new AbortController();

  async function submit(delivery: Delivery, trace: Trace | undefined): Promise<JobView> {
    const principal = await producers.authenticate(delivery.userId);
    checkProperties(delivery);
    const submission = parseSubmission(parseJsonBody(delivery.body, maxBodyBytes), bounds);
    const { job } = await admission({ principal, submission, idempotencyKey: `amqp ${delivery.messageId}`, trace });
    trace?.span?.set(acceptedAttributes(principal, job));
    return job;
  }

  /** Undefined when the channel or the gateway ended first: somebody else will answer. */
  async function answerTo({ delivery, trace }: Submitted, over: AbortSignal): Promise<Answer | undefined> {
    const startedAtMs = performance.now();
    for (let pauseMs = FIRST_DELAY_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_DELAY_MS)) {
      try {
        return { kind: 'accepted', job: await submit(delivery, trace) };
      } catch (cause) {
        const error = asServiceError(cause);
        const outOfPatience = performance.now() - startedAtMs + pauseMs > patienceMs;
        if (!PASSING.has(error.code) || outOfPatience) return { kind: 'refused', error: asTold(error) };
        await delay(pauseMs, over);
        if (over.aborted) return undefined;
      }
    }
  }

  async function settle({ delivery, trace }: Submitted, answer: Answer): Promise<Settlement> {
    const { userId, messageId } = delivery;
    const facts = { userId, messageId, traceId: trace?.span?.traceId };
    metrics.ingested(answer.kind);
    if (answer.kind === 'refused') {
      metrics.refused(answer.error);
      logRefusal(answer.error, facts);
      noteRefusal(answer.error, trace);
    }
    if (delivery.replyTo === '' || isReservedQueue(delivery.replyTo)) {
      return answer.kind === 'accepted' ? ack : dead(answer.error.code, trace?.headers);
    }
    try {
      await publishIn(trace, publisher, replyMessage(delivery, answer));
    } catch (error) {
      if (!(error instanceof UnroutableError)) return retry(REPLY_RETRY_MS);
      logger.warn({ ...facts, replyTo: delivery.replyTo }, 'nobody takes the answer to a submission');
    }
    return ack;
  }

  function logRefusal(error: ServiceError, facts: object): void {
    if (error.status >= 500) logger.error({ ...facts, err: error, cause: error.cause }, 'a submission failed');
    else logger.info({ ...facts, ...refusalFacts(error) }, 'a submission was refused');
  }

  const consumer: Consumer = createConsumer({
    connection: options.connection,
    publisher,
    queue: QUEUES.ingest,
    prefetch: options.prefetch,
    logger,
    retries: 'in-place',
    async handler(delivery, lost) {
      const { queue, messageId, body } = delivery;
      const facts = {
        destination: queue,
        messageId: isMessageId(messageId) ? messageId : undefined,
        size: body.length,
      };
      const trace = traces.begin(`process ${queue}`, delivery.headers, () => messageSpan('process', facts));
      const submitted = { delivery, trace };
      try {
        const answer = await answerTo(submitted, AbortSignal.any([lost, stopping.signal]));
        return answer ? await settle(submitted, answer) : retry(0);
      } finally {
        trace?.span?.end();
      }
    },
  });

  return {
    get attached() {
      return consumer.attached;
    },
    start: () => consumer.start(),
    stop() {
      stopping.abort();
      return consumer.stop();
    },
  };
}

/** A submission, and the trace that it is a part of. */
interface Submitted {
  readonly delivery: Delivery;
  readonly trace: Trace | undefined;
}

/** What is the producer's to mend is no failure of this work. */
function noteRefusal({ code, status }: ServiceError, trace: Trace | undefined): void {
  if (status >= 500) trace?.span?.fail(code);
  else trace?.span?.set({ 'sluice.refusal': code });
}

/** @throws ServiceError `unsupported_media_type` or `invalid_request`. */
function checkProperties({ type, messageId, replyTo, contentType }: Delivery): void {
  if (!/^application\/json *(;|$)/i.test(contentType)) {
    throw new ServiceError('unsupported_media_type', 'Set content_type to application/json.', {
      fields: [{ field: 'content_type', reason: 'must be application/json' }],
    });
  }
  const fields = [
    ...(type === '' || type === INGEST_TYPES.submit
      ? []
      : [{ field: 'type', reason: `must be absent or "${INGEST_TYPES.submit}"` }]),
    ...(isMessageId(messageId) ? [] : [{ field: 'message_id', reason: 'must be 1 to 255 visible ASCII characters' }]),
    ...(isReservedQueue(replyTo) ? [{ field: 'reply_to', reason: 'names a queue of the suite' }] : []),
  ];
  if (fields.length > 0) throw invalidRequest(fields);
}

function isMessageId(messageId: string): boolean {
  return MESSAGE_ID.test(messageId);
}

function asServiceError(error: unknown): ServiceError {
  return isServiceError(error) ? error : new ServiceError('internal', 'The error was logged.', { cause: error });
}

/** The same error in the words of AMQP. */
function asTold(error: ServiceError): ServiceError {
  if (error.code !== 'idempotency_key_reused') return error;
  return new ServiceError(error.code, 'This message_id was used for a different submission.', {
    cause: error,
    fields: [{ field: 'message_id', reason: 'belongs to a submission with another body' }],
  });
}
