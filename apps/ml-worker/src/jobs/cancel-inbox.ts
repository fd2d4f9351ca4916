import { randomUUID } from 'node:crypto';
import {
  cancelMessageSchema,
  clockMessageSchema,
  EXCHANGES,
  MESSAGE_TYPES,
  type HoldingMessage,
} from '@sluice/contracts';
import {
  createInbox,
  type BrokerConnection,
  type Delivery,
  type Inbox,
  type OutgoingMessage,
  type Publisher,
} from '@sluice/broker';
import type { Logger } from '@sluice/runtime';
import type { Cancellations } from './cancellations.js';
import type { HeldJobs } from './held-jobs.js';
import type { JobClock } from './job-clock.js';

export interface CancelInboxOptions {
  readonly connection: BrokerConnection;
  readonly cancellations: Pick<Cancellations, 'add'>;
  readonly held: Pick<HeldJobs, 'holdingOf'>;
  readonly clock: Pick<JobClock, 'heard'>;
  /** Carries the answers. */
  readonly publisher: Pick<Publisher, 'publish'>;
  readonly logger: Logger;
}

/**
 * Hears what is told to every worker: what time it is, and which jobs are not wanted any more. Those about jobs in hand are
 * answered: whoever asked then leaves the end to this worker. A request that comes while the connection is away is missed:
 * the job then runs to its end, which counts for nothing when the gateway has ended it before.
 */
export function createCancelInbox(options: CancelInboxOptions): Inbox {
  const { connection, cancellations, held, clock, publisher, logger } = options;

  function answer(replyTo: string, message: HoldingMessage): void {
    publisher.publish(toOutgoing(replyTo, message)).catch((error: unknown) => {
      logger.warn({ err: error, ...message }, 'nobody was told that a job to be cancelled is here');
    });
  }

  function takeRequest({ body, replyTo }: Delivery): void {
    const request = cancelMessageSchema.parse(JSON.parse(body.toString('utf8')));
    const { jobId } = request;
    const holding = held.holdingOf(request);
    // n.b. before the end that this may bring about: publishes of a channel are in order.
    if (holding !== undefined && replyTo !== '') answer(replyTo, { jobId, holding });
    cancellations.add(request);
  }

  function takeTime(body: Buffer): void {
    clock.heard(clockMessageSchema.parse(JSON.parse(body.toString('utf8'))).redisNowMs);
  }

  return createInbox({
    connection,
    bindTo: EXCHANGES.cancellations,
    onMessage(delivery) {
      const { type, body } = delivery;
      if (type === MESSAGE_TYPES.cancel) takeRequest(delivery);
      else if (type === MESSAGE_TYPES.clock) takeTime(body);
      // A later version's gateways may tell more.
      else logger.debug({ type }, 'news of a kind that is not known here');
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
