import { EXCHANGES, MESSAGE_TYPES, routingKey, ServiceError, type AcceptedMessage } from '@sluice/contracts';
import type { BrokerConnection, FenceMember, OutgoingMessage, Publisher } from '@sluice/broker';

export interface JobPublisherOptions {
  readonly connection: Pick<BrokerConnection, 'state' | 'generation'>;
  readonly publisher: Pick<Publisher, 'publish'>;
  /** Nothing is reserved before the fence can ask this process. */
  readonly member: Pick<FenceMember, 'ready'>;
}

export interface JobPublisher {
  /**
   * The connection to the broker that everything of a flight has to go out on; ask before anything is reserved.
   *
   * @throws ServiceError `broker_unavailable` while no job may be reserved.
   */
  generation(): number;
  /**
   * Queues a job for its pool, and the fact that it was accepted, in one publish. Rejects like `Publisher.publish`, and
   * with `broker_unavailable` when the connection is not that of the generation any more.
   */
  publish(message: AcceptedMessage, pool: string, generation: number): Promise<void>;
  /** The fact alone: nothing is queued for a pool. */
  publishFact(message: AcceptedMessage, generation: number): Promise<void>;
}

export function createJobPublisher({ connection, publisher, member }: JobPublisherOptions): JobPublisher {
  return {
    generation() {
      if (connection.state === 'connected' && member.ready) return connection.generation;
      throw brokerDown();
    },
    publish: (message, pool, generation) =>
      publisher.publish(outgoing(EXCHANGES.submissions, routingKey(pool, message.class), message), { generation }),
    publishFact: (message, generation) =>
      publisher.publish(outgoing(EXCHANGES.results, MESSAGE_TYPES.accepted, message), { generation }),
  };
}

function outgoing(exchange: string, key: string, message: AcceptedMessage): OutgoingMessage {
  const body = Buffer.from(JSON.stringify(message));
  return { exchange, routingKey: key, body, type: MESSAGE_TYPES.accepted, messageId: message.jobId };
}

/** Nothing was queued, for certain. */
export function brokerDown(): ServiceError {
  return new ServiceError('broker_unavailable', 'The queue cannot be reached; nothing was reserved.', {
    retryAfterSeconds: 1,
  });
}
