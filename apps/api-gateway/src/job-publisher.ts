import { EXCHANGES, MESSAGE_TYPES, routingKey, ServiceError, type AcceptedMessage } from '@sluice/contracts';
import { publishIn, type BrokerConnection, type FenceMember, type Publisher } from '@sluice/broker';
import type { Trace } from '@sluice/telemetry';

export interface JobPublisherOptions {
  readonly connection: Pick<BrokerConnection, 'state' | 'generation'>;
  readonly publisher: Pick<Publisher, 'publish'>;
  /** Nothing is reserved before the fence can ask this process. */
  readonly member: Pick<FenceMember, 'ready'>;
}

/** How a job is queued. */
export interface Queueing {
  readonly pool: string;
  /** Of the connection that it may go out on. */
  readonly generation: number;
  readonly trace: Trace | undefined;
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
  publish(message: AcceptedMessage, queueing: Queueing): Promise<void>;
}

export function createJobPublisher({ connection, publisher, member }: JobPublisherOptions): JobPublisher {
  return {
    generation() {
      if (connection.state === 'connected' && member.ready) return connection.generation;
      throw brokerDown();
    },
    async publish(message, { pool, generation, trace }) {
      const outgoing = {
        exchange: EXCHANGES.submissions,
        routingKey: routingKey(pool, message.class),
        body: Buffer.from(JSON.stringify(message)),
        type: MESSAGE_TYPES.accepted,
        messageId: message.jobId,
      };
      await publishIn(trace, publisher, outgoing, { generation });
    },
  };
}

/** Nothing was queued, for certain. */
export function brokerDown(): ServiceError {
  return new ServiceError('broker_unavailable', 'The queue cannot be reached; nothing was reserved.', {
    retryAfterSeconds: 1,
  });
}
