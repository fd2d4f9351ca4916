import { randomUUID } from 'node:crypto';
import { cancelMessageSchema, EXCHANGES, MESSAGE_TYPES, type HoldingMessage } from '@sluice/contracts';
import { createInbox, type BrokerConnection, type Inbox, type OutgoingMessage, type Publisher } from '@sluice/broker';
import type { Logger } from '@sluice/runtime';
import type { Cancellations } from './cancellations.js';
import type { HeldJobs } from './held-jobs.js';

export interface CancelInboxOptions {
  readonly connection: BrokerConnection;
  readonly cancellations: Pick<Cancellations, 'add'>;
  readonly held: Pick<HeldJobs, 'holdingOf'>;
  /** Carries the answers. */
  readonly publisher: Pick<Publisher, 'publish'>;
  readonly logger: Logger;
}

/**
 * Hears the requests to cancel that go to every worker, and answers those about jobs in hand: whoever asked then leaves
 * the end to this worker. A request that comes while the connection is away is missed: the job then runs to its end,
 * which counts for nothing when the gateway has ended it before.
 */
export function createCancelInbox(options: CancelInboxOptions): Inbox {
  const { connection, cancellations, held, publisher, logger } = options;

  function answer(replyTo: string, message: HoldingMessage): void {
    publisher.publish(toOutgoing(replyTo, message)).catch((error: unknown) => {
      logger.warn({ err: error, ...message }, 'nobody was told that a job to be cancelled is here');
    });
  }

  return createInbox({
    connection,
    bindTo: EXCHANGES.cancellations,
    onMessage({ type, body, replyTo }) {
      const request = type === MESSAGE_TYPES.cancel ? cancelMessageSchema.safeParse(json(body)) : undefined;
      if (!request?.success) {
        logger.warn({ type, problem: request?.error?.issues[0] }, 'a request to cancel cannot be read');
        return;
      }
      const { jobId } = request.data;
      const holding = held.holdingOf(request.data);
      // n.b. before the end that this may bring about: publishes of a channel are in order.
      if (holding !== undefined && replyTo !== '') answer(replyTo, { jobId, holding });
      cancellations.add(request.data);
    },
    logger,
  });
}

function toOutgoing(replyTo: string, message: HoldingMessage): OutgoingMessage {
  return {
    exchange: '',
    routingKey: replyTo,
    type: MESSAGE_TYPES.holding,
    messageId: randomUUID(),
    body: Buffer.from(JSON.stringify(message)),
    // Whoever asked may have gone.
    mandatory: false,
  };
}

/** Undefined when it is none. */
function json(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}
