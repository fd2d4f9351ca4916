import { EXCHANGES, HEADERS, QUEUES } from '@sluice/contracts';
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
      const copy = copyOf(delivery, settlement, { retryTiers });
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

/** How much of a tier's delay a retry waits at least; the rest is spread, so that what failed together returns apart. */
const SHORTEST_SHARE = 0.8;

/** Where a copy names the broker's user of the original: the broker would refuse the copy if it kept `user_id`. */
export const USER_ID_HEADER = 'x-user-id';

/** The message that stands for a delivery in a retry tier or in the dead queue. */
export function copyOf(
  delivery: Delivery,
  settlement: Move,
  { retryTiers, random = Math.random }: { readonly retryTiers: readonly RetryTier[]; readonly random?: () => number },
): OutgoingMessage {
  const { attempt, queue } = delivery;
  const kept = keptParts(delivery);
  if (settlement.kind === 'retry' && attempt < HIGHEST_ATTEMPT) {
    const tier = tierFor(settlement.delayMs, retryTiers);
    return {
      ...kept,
      exchange: tier.name,
      // n.b. the broker drops expired messages from the head of a queue only: a copy may wait for an older one with a
      // later end, at most for the tier's whole delay. As the spread is small, so is that wait.
      expirationMs: Math.ceil(tier.delayMs * (SHORTEST_SHARE + (1 - SHORTEST_SHARE) * random())),
      headers: {
        ...kept.headers,
        [HEADERS.attempt]: attempt + 1,
        ...(settlement.reason !== undefined && { [HEADERS.retryReason]: settlement.reason }),
      },
    };
  }
  const [reason, trace] =
    settlement.kind === 'dead' ? [settlement.reason, settlement.trace] : ['attempts_exhausted', undefined];
  return {
    ...kept,
    exchange: EXCHANGES.dead,
    headers: {
      ...kept.headers,
      [HEADERS.attempt]: attempt,
      [HEADERS.reason]: reason.slice(0, 500),
      [HEADERS.source]: queue,
      ...trace,
    },
  };
}

/** What every copy keeps of the original. */
function keptParts(delivery: Delivery): Omit<OutgoingMessage, 'exchange'> {
  const { routingKey, body, type, messageId, userId, replyTo, correlationId } = delivery;
  const { [USER_ID_HEADER]: _forged, [HEADERS.retryReason]: _earlier, ...kept } = keptHeaders(delivery.headers);
  // n.b. what other services say of traces ends here: the copy is read by parts that go on with what the suite wrote.
  const { traceparent: _stranger, tracestate: _strangers, ...own } = kept;
  const headers = delivery.queue === QUEUES.ingest ? own : kept;
  return {
    routingKey,
    body,
    type,
    messageId,
    headers: { ...headers, ...(userId !== '' && { [USER_ID_HEADER]: userId }) },
    ...(replyTo !== '' && { replyTo }),
    ...(correlationId !== '' && { correlationId }),
  };
}
