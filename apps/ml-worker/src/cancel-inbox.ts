import { cancelMessageSchema, EXCHANGES, MESSAGE_TYPES } from '@sluice/contracts';
import { createInbox, type BrokerConnection, type Inbox } from '@sluice/broker';
import type { Logger } from '@sluice/runtime';
import type { Cancellations } from './cancellations.js';

export interface CancelInboxOptions {
  readonly connection: BrokerConnection;
  readonly cancellations: Pick<Cancellations, 'add'>;
  readonly logger: Logger;
}

/**
 * Hears the requests to cancel that go to every worker. A request that comes while the connection is away is missed:
 * the job then runs to its end, which counts for nothing when the gateway has ended it before.
 */
export function createCancelInbox({ connection, cancellations, logger }: CancelInboxOptions): Inbox {
  return createInbox({
    connection,
    bindTo: EXCHANGES.cancellations,
    onMessage({ type, body }) {
      const request = type === MESSAGE_TYPES.cancel ? cancelMessageSchema.safeParse(json(body)) : undefined;
      if (request?.success) cancellations.add(request.data);
      else logger.warn({ type, problem: request?.error?.issues[0] }, 'a request to cancel cannot be read');
    },
    logger,
  });
}

/** Undefined when it is none. */
function json(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}
