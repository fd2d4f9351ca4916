import { EXCHANGES, HEADERS } from '@sluice/contracts';
import { delay, type Logger } from '@sluice/runtime';
import { createBackoff } from './backoff.js';
import { HIGHEST_ATTEMPT, keptHeaders, type Delivery } from './delivery.js';
import type { OutgoingMessage, Publisher } from './publisher.js';
import { tierFor, type Move, type RetryTier } from './settlement.js';

const REPUBLISH = { firstMs: 100, maxMs: 5_000 };

export interface RelayOptions {
  readonly publisher: Publisher;
  readonly retryTiers: readonly RetryTier[];
  readonly logger: Logger;
}

/** Publishes the copy of a delivery that a settlement asks for. */
export interface Relay {
  /**
   * Resolves with true when the copy is confirmed and the original may be acknowledged; with false when that failed
   * and `signal` has aborted, so that the original must stay. Tries at least once. Never rejects: an unconfirmed copy is published again, so the broker
   * may hold two, never none.
   */
  move(delivery: Delivery, settlement: Move, signal: AbortSignal): Promise<boolean>;
}

export function createRelay({ publisher, retryTiers, logger }: RelayOptions): Relay {
  return {
    async move(delivery, settlement, signal) {
      const copy = copyOf(delivery, settlement, retryTiers);
      const backoff = createBackoff(REPUBLISH);
      do {
        try {
          await publisher.publish(copy);
          return true;
        } catch (error) {
          logger.warn(
            { err: error, messageId: delivery.messageId, exchange: copy.exchange },
            'a copy is not published',
          );
          await delay(backoff.next(), signal);
        }
      } while (!signal.aborted);
      return false;
    },
  };
}

/** The message that stands for a delivery in a retry tier or in the dead queue. */
export function copyOf(delivery: Delivery, settlement: Move, retryTiers: readonly RetryTier[]): OutgoingMessage {
  const { routingKey, body, type, messageId, attempt, queue } = delivery;
  const headers = keptHeaders(delivery.headers);
  if (settlement.kind === 'retry' && attempt < HIGHEST_ATTEMPT) {
    const exchange = tierFor(settlement.delayMs, retryTiers).name;
    return { exchange, routingKey, body, type, messageId, headers: { ...headers, [HEADERS.attempt]: attempt + 1 } };
  }
  const reason = settlement.kind === 'dead' ? settlement.reason : 'attempts_exhausted';
  return {
    exchange: EXCHANGES.dead,
    routingKey,
    body,
    type,
    messageId,
    headers: {
      ...headers,
      [HEADERS.attempt]: attempt,
      [HEADERS.reason]: reason.slice(0, 500),
      [HEADERS.source]: queue,
    },
  };
}
