import { IllegalOperationError, type ConfirmChannel } from 'amqplib';
import type { Logger, Service } from '@sluice/runtime';
import { unavailable } from './broker-errors.js';
import { createChannelSupervisor } from './channel-supervisor.js';
import { createConfirmWindow, type ConfirmWindow } from './confirm-window.js';
import type { BrokerConnection } from './connection.js';

export interface OutgoingMessage {
  readonly exchange: string;
  readonly routingKey: string;
  /** JSON in UTF-8. */
  readonly body: Buffer;
  /** AMQP `type` property, at most 255 bytes. */
  readonly type: string;
  /** At most 255 bytes. */
  readonly messageId: string;
  readonly headers?: Readonly<Record<string, string | number>>;
}

export interface Publisher extends Service {
  /**
   * Publishes a durable message and resolves when the broker has confirmed it. Never buffers: without a usable
   * connection it rejects at once. Rejects with
   * - `broker_unavailable`: certainly in no queue (not connected, blocked, too many unanswered, routed nowhere);
   * - `publish_unconfirmed`: unknown (deadline passed, channel lost, refused by one of possibly several queues).
   */
  publish(message: OutgoingMessage): Promise<void>;
  /** Publishes the broker has not answered yet. */
  readonly inFlight: number;
}

export interface PublisherOptions {
  readonly connection: BrokerConnection;
  readonly logger: Logger;
  /** From `publish` to its answer at the latest, in milliseconds. */
  readonly deadlineMs: number;
  /** Most unanswered publishes at once; bounds memory while the broker is slow. 1024 when absent. */
  readonly maxInFlight?: number;
}

/**
 * Publishes with confirms over one channel. `stop` waits for the answers of what was published (each comes by its
 * deadline) and refuses anything new.
 */
export function createPublisher(options: PublisherOptions): Publisher {
  const { connection, deadlineMs, maxInFlight = 1024 } = options;
  let open: { readonly channel: ConfirmChannel; readonly window: ConfirmWindow } | undefined;
  let stopping: Promise<void> | undefined;

  const supervisor = createChannelSupervisor<ConfirmChannel>({
    connection,
    logger: options.logger.child({ part: 'publisher' }),
    create: (model) => model.createConfirmChannel(),
    onOpen(channel) {
      const window = createConfirmWindow({ deadlineMs });
      channel.on('ack', ({ deliveryTag, multiple }) => window.settle(deliveryTag, multiple, true));
      channel.on('nack', ({ deliveryTag, multiple }) => window.settle(deliveryTag, multiple, false));
      channel.on('return', (message) => window.returned(String(message.properties.messageId)));
      open = { channel, window };
    },
    onLost(reason) {
      open?.window.fail(reason);
      open = undefined;
    },
  });

  function publish(message: OutgoingMessage): Promise<void> {
    if (stopping) return Promise.reject(unavailable('Publishing has ended.'));
    if (open === undefined) return Promise.reject(unavailable('The broker is not connected.'));
    if (connection.state === 'blocked') return Promise.reject(unavailable('The broker takes no publishes now.'));
    const { channel, window } = open;
    if (window.size >= maxInFlight) return Promise.reject(unavailable('Too many publishes are unanswered.'));
    return new Promise((resolve, reject) => {
      send(channel, message);
      window.add(message.messageId, resolve, reject);
    });
  }

  return {
    publish,
    get inFlight() {
      return open?.window.size ?? 0;
    },
    start: () => supervisor.start(),
    stop() {
      stopping ??= (async () => {
        await open?.window.idle();
        await supervisor.stop();
      })();
      return stopping;
    },
  };
}

/** Writes the message; when it throws, nothing was written and the channel counts no tag. */
function send(channel: ConfirmChannel, message: OutgoingMessage): void {
  try {
    channel.publish(message.exchange, message.routingKey, message.body, {
      persistent: true,
      // n.b. without it a message that no queue takes is confirmed like any other.
      mandatory: true,
      contentType: 'application/json',
      type: message.type,
      messageId: message.messageId,
      headers: message.headers,
    });
  } catch (error) {
    if (error instanceof IllegalOperationError) throw unavailable('The channel to the broker is closed.', error);
    throw error;
  }
}
