import { ack, USER_ID_HEADER, type Delivery, type Settlement } from '@sluice/broker';
import { isJobId, isServiceError, QUEUES, type ErrorCode } from '@sluice/contracts';
import type { Logger } from '@sluice/runtime';
import type { CompletedFact, Fact, Store } from '@sluice/store';
import type { Trace, Tracer } from '@sluice/telemetry';
import type { Accounting } from './accounting.js';
import { giveBack } from './consumer.js';
import type { EndDeadJob } from './dead-jobs.js';
import { codeOf, deathOf, endOf, isStrangers, type Death } from './death.js';
import { followDelivery } from './fact-traces.js';
import { decodeFact, factKey, unusedCompletion } from './facts.js';
import { persist, StoppedError } from './persistence.js';

/** As large as the broker lets a message be; more of one is not kept, its real size is. */
export const MAX_PAYLOAD_BYTES = 16 * 1024 * 1024;
const MAX_HEADERS_LENGTH = 16 * 1024;

export interface DeadLetterHandlerOptions {
  /** Must not wait for Redis: facts would be kept from the books by holds that cannot be settled. */
  readonly accounting: Accounting;
  readonly endDeadJob: EndDeadJob;
  readonly store: Pick<Store, 'recordDeadLetter' | 'findProducer'>;
  /** Aborts when the collector stops. */
  readonly signal: AbortSignal;
  /** Hears of every failed attempt to reach PostgreSQL. */
  readonly onFailure: (error: unknown) => void;
  /** Hears of every letter that was kept, by the queue it was found in. */
  readonly onKept: (queue: string) => void;
  /** When a job is said to have ended, for people (Unix milliseconds). Must not depend on Redis. */
  readonly now: () => Promise<number>;
  readonly tracer: Tracer;
  readonly logger: Logger;
}

/**
 * Handles a message of the `dead` or `unrouted` queue.
 *
 * ```
 * stored for operators ─▶ the fact that it is: booked ─┬─was a fact, or no job yet (`ingest`)─▶ ack
 *                                                     └─was the job─▶ its end: reported ──────▶ ack
 * ```
 *
 * A step that was done changes nothing when the message is delivered again. Facts are booked here and never sent back to
 * `results`, where they would die again; the end that is reported there is another message, and a fact as well. So
 * nothing goes round. What cannot be stored or booked at all is logged and let go.
 */
export function createDeadLetterHandler(options: DeadLetterHandlerOptions) {
  const { accounting, endDeadJob, store, signal, onFailure, onKept, now, tracer, logger } = options;

  function patiently<T>(operation: () => Promise<T>, until: AbortSignal): Promise<T> {
    return persist(operation, {
      signal: until,
      mayHeal: (error) => isServiceError(error) && SERVERS_AWAY.has(error.code),
      onFailure: (error, attempt, delayMs) => {
        if (isServiceError(error) && error.code === 'store_unavailable') onFailure(error);
        logger.warn({ err: error, attempt, delayMs }, 'a dead message could not be dealt with, trying again');
      },
    });
  }

  /** What cannot be done at all is given up; servers that are away are waited for. */
  function unlessHopeless<T>(
    operation: () => Promise<T>,
    onHopeless: (error: unknown) => void,
    until = signal,
  ): Promise<T | undefined> {
    return patiently(operation, until).catch((error: unknown) => {
      if (error instanceof StoppedError) throw error;
      onHopeless(error);
      return undefined;
    });
  }

  async function keep(letter: Letter): Promise<void> {
    const { messageId, jobId, reason, queue } = letter;
    const record = async (): Promise<void> => {
      await store.recordDeadLetter(letter);
      onKept(queue);
    };
    await unlessHopeless(record, (error) =>
      logger.error({ err: error, messageId, jobId, reason }, 'a dead message is lost'),
    );
  }

  /** The tenant of the producer that sent a message to `ingest`, by the user the broker vouches for. */
  async function senderOf({ userId, headers }: Delivery): Promise<string | undefined> {
    const noted = headers[USER_ID_HEADER];
    const user = userId || (typeof noted === 'string' ? noted : '');
    if (user === '') return undefined;
    const producer = await unlessHopeless(
      () => store.findProducer(user),
      (error) => logger.warn({ err: error, user }, 'it is not known for whom a producer submits'),
    );
    return producer?.tenantId;
  }

  async function book(fact: Fact, trace: Trace | undefined): Promise<void> {
    const traces = trace && new Map([[factKey(fact.type, fact.message.jobId), trace]]);
    const refused = await accounting.book([fact], signal, traces);
    for (const [key, reason] of refused) logger.error({ fact: key, reason }, 'a dead fact cannot be recorded');
  }

  /** n.b. a delivery that was lost meanwhile comes again, and is waited for there. */
  async function endJob(end: CompletedFact, trace: Trace | undefined, lost: AbortSignal): Promise<void> {
    const { jobId } = end;
    await unlessHopeless(
      () => endDeadJob(end, trace),
      (error) => logger.error({ err: error, jobId }, 'a dead job is left to the sweep'),
      AbortSignal.any([signal, lost]),
    );
  }

  return async (delivery: Delivery, lost: AbortSignal): Promise<Settlement> => {
    const death = deathOf(delivery);
    const fact = death.source === QUEUES.ingest ? undefined : decodeFact(delivery).fact;
    const jobId = jobIdOf(delivery, death, fact);
    const trace = isStrangers(delivery.headers)
      ? undefined
      : followDelivery(tracer, withoutTheirWords(delivery, death));
    const span = trace?.span;
    span?.fail(codeOf(death.reason));
    if (jobId !== undefined) span?.set({ 'sluice.job.id': jobId });
    try {
      const tenantId = fact?.message.tenantId ?? (await senderOf(delivery));
      await keep({ ...letterOf(delivery, death), jobId, tenantId });
      if (fact) await book(fact, trace);
      const end = endOfJob(fact, death, { attempt: delivery.attempt, nowMs: await now() });
      if (end) await endJob(end, trace, lost);
      const { source, reason } = death;
      logger.warn({ jobId, traceId: span?.traceId, queue: delivery.queue, source, reason }, 'a message died');
      return ack;
    } catch (error) {
      if (error instanceof StoppedError) return giveBack;
      throw error;
    } finally {
      span?.end();
    }
  };
}

/** PostgreSQL, a collector or gateway that the fence waits for, or RabbitMQ. */
const SERVERS_AWAY: ReadonlySet<ErrorCode> = new Set([
  'store_unavailable',
  'quota_unavailable',
  'broker_unavailable',
  'publish_unconfirmed',
]);

type Letter = Parameters<Store['recordDeadLetter']>[0];

/** n.b. the id of a submission is its sender's choice and names no job. */
function jobIdOf({ messageId }: Delivery, { source }: Death, fact: Fact | undefined): string | undefined {
  if (fact !== undefined) return fact.message.jobId;
  return source !== QUEUES.ingest && isJobId(messageId) ? messageId : undefined;
}

/**
 * How the job of a dead message ends by that; undefined when it does not. A fact that died on its way from `results`
 * (delivered too often to collectors that were killed) is still true, and the job may be well. A completed fact is true
 * wherever it is found. Anything else was the job itself; its accepted fact is booked by whoever asks.
 */
export function endOfJob(
  fact: Fact | undefined,
  death: Death,
  at: { readonly attempt: number; readonly nowMs: number },
): CompletedFact | undefined {
  if (fact === undefined || fact.type === 'completed' || death.source === QUEUES.results) return undefined;
  const { reservedTokens, reservedNanoUsd } = fact.message;
  return {
    ...unusedCompletion(fact.message, { ...endOf(death), attempt: at.attempt, finishedAtMs: at.nowMs }),
    reservedTokens,
    ...(reservedNanoUsd !== undefined && { reservedNanoUsd }),
  };
}

function letterOf(delivery: Delivery, death: Death): Omit<Letter, 'tenantId' | 'jobId'> {
  return {
    queue: delivery.queue,
    reason: death.reason,
    attempts: delivery.attempt,
    type: delivery.type,
    messageId: delivery.messageId,
    headers: boundedHeaders(isStrangers(delivery.headers) ? withoutTrace(delivery.headers) : delivery.headers),
    payload: delivery.body.subarray(0, MAX_PAYLOAD_BYTES),
    payloadBytes: delivery.body.length,
  };
}

/** n.b. of a submission both are its sender's choice, and spans hold nothing that a tenant wrote. */
function withoutTheirWords(delivery: Delivery, { source }: Death): Delivery {
  return source === QUEUES.ingest ? { ...delivery, routingKey: '', messageId: '' } : delivery;
}

function withoutTrace(headers: Delivery['headers']): Delivery['headers'] {
  const { traceparent: _theirs, tracestate: _added, ...kept } = headers;
  return kept;
}

/** A stranger may have put anything there, the broker adds an entry for every queue the message died in. */
function boundedHeaders(headers: Delivery['headers']): Delivery['headers'] {
  const { length } = JSON.stringify(headers, (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
  return length <= MAX_HEADERS_LENGTH ? headers : { omitted: `${length} characters` };
}
