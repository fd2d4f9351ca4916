import { ack, type Delivery, type Settlement } from '@sluice/broker';
import { isJobId, isServiceError, QUEUES } from '@sluice/contracts';
import type { Logger } from '@sluice/runtime';
import type { Fact, Store } from '@sluice/store';
import type { Accounting } from './accounting.js';
import { giveBack } from './consumer.js';
import { deathOf, endOf, type Death } from './death.js';
import { decodeFact, unusedCompletion } from './facts.js';
import { persist, StoppedError } from './persistence.js';

/** More of a dead message is not kept; its real size is. */
export const MAX_PAYLOAD_BYTES = 64 * 1024;
const MAX_HEADERS_LENGTH = 16 * 1024;

export interface DeadLetterHandlerOptions {
  readonly accounting: Accounting;
  readonly store: Pick<Store, 'recordDeadLetter'>;
  /** Aborts when the collector stops. */
  readonly signal: AbortSignal;
  /** Hears of every failed attempt to reach PostgreSQL. */
  readonly onFailure: (error: unknown) => void;
  /** Unix milliseconds. */
  readonly now: () => number;
  readonly logger: Logger;
}

/**
 * Handles a message of the `dead` or `unrouted` queue: stores it for operators, and ends the job it stands for, so that
 * its hold is released. Nothing leads back into a queue from here; a message that cannot be stored at all is logged
 * and let go.
 */
export function createDeadLetterHandler(options: DeadLetterHandlerOptions) {
  const { accounting, store, signal, onFailure, now, logger } = options;

  async function keep(delivery: Delivery, death: Death, jobId: string | undefined): Promise<void> {
    const letter = letterOf(delivery, death, jobId);
    await persist(() => store.recordDeadLetter(letter), {
      signal,
      mayHeal: isServiceError,
      onFailure: (error, attempt, delayMs) => {
        onFailure(error);
        logger.warn({ err: error, attempt, delayMs }, 'PostgreSQL could not store a dead message, trying again');
      },
    }).catch((error: unknown) => {
      if (error instanceof StoppedError) throw error;
      logger.error({ err: error, messageId: letter.messageId, jobId, reason: letter.reason }, 'a dead message is lost');
    });
  }

  return async (delivery: Delivery): Promise<Settlement> => {
    const death = deathOf(delivery);
    const { fact } = decodeFact(delivery);
    const jobId = fact?.message.jobId ?? (isJobId(delivery.messageId) ? delivery.messageId : undefined);
    try {
      await keep(delivery, death, jobId);
      const refused = await accounting.book(factsOf(fact, death, { attempt: delivery.attempt, nowMs: now() }), signal);
      for (const [key, reason] of refused) logger.error({ fact: key, reason }, 'a dead fact cannot be recorded');
      logger.warn({ jobId, queue: delivery.queue, source: death.source, reason: death.reason }, 'a message died');
      return ack;
    } catch (error) {
      if (error instanceof StoppedError) return giveBack;
      throw error;
    }
  };
}

/**
 * What a dead message says of its job. A fact that died on its way from `results` (delivered too often to collectors
 * that were killed) is still true, and the job may be well. A completed fact is true wherever it is found. Anything
 * else was the job itself, which now ends.
 */
export function factsOf(
  fact: Fact | undefined,
  death: Death,
  at: { readonly attempt: number; readonly nowMs: number },
): readonly Fact[] {
  if (fact === undefined) return [];
  if (fact.type === 'completed' || death.source === QUEUES.results) return [fact];
  const end = { ...endOf(death), attempt: at.attempt, finishedAtMs: at.nowMs };
  return [fact, { type: 'completed', message: unusedCompletion(fact.message, end) }];
}

function letterOf(
  delivery: Delivery,
  death: Death,
  jobId: string | undefined,
): Parameters<Store['recordDeadLetter']>[0] {
  return {
    queue: delivery.queue,
    reason: death.reason,
    attempts: delivery.attempt,
    type: delivery.type,
    messageId: delivery.messageId,
    jobId,
    headers: boundedHeaders(delivery.headers),
    payload: delivery.body.subarray(0, MAX_PAYLOAD_BYTES),
    payloadBytes: delivery.body.length,
  };
}

/** A stranger may have put anything there, the broker adds an entry for every queue the message died in. */
function boundedHeaders(headers: Delivery['headers']): Delivery['headers'] {
  const { length } = JSON.stringify(headers, (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
  return length <= MAX_HEADERS_LENGTH ? headers : { omitted: `${length} characters` };
}
