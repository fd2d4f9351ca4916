import { IllegalOperationError, type ConfirmChannel } from 'amqplib';
import type { Logger, Service } from '@sluice/runtime';
import { unavailable } from './broker-errors.js';
import { createChannelSupervisor } from './channel-supervisor.js';
import { createConfirmWindow, type ConfirmWindow } from './confirm-window.js';
import type { BrokerConnection } from './connection.js';

export interface OutgoingMessage {
  readonly exchange: string;
  readonly routingKey: string;
  /** JSON in UTF-8, unless `contentType` says otherwise. */
  readonly body: Buffer;
  /** AMQP `type` property, at most 255 bytes. */
  readonly type: string;
  /** At most 255 bytes. */
  readonly messageId: string;
  readonly headers?: Readonly<Record<string, string | number>>;
  /** `application/json` when absent. */
  readonly contentType?: string;
  /** Queue that an answer is wanted in. */
  readonly replyTo?: string;
  /** What the answer is to be known by. */
  readonly correlationId?: string;
  /** After how long in a queue the message is dropped or dead-lettered, in milliseconds; never when absent. */
  readonly expirationMs?: number;
  /** False for news that nobody needs to take: a message that no queue takes is then confirmed. True when absent. */
  readonly mandatory?: boolean;
}

export interface PublishOptions {
  /**
   * `BrokerConnection.generation` that the message may go out on; on any other the publish is refused with
   * `broker_unavailable`. Any when absent.
   */
  readonly generation?: number;
}

export interface Publisher extends Service {
  /**
   * Publishes a durable message and resolves when the broker has confirmed it. Never buffers: without a usable
   * connection it rejects at once. Rejects with
   * - `broker_unavailable`: certainly in no queue (not connected, blocked, another generation, too many unanswered,
   *   routed nowhere);
   * - `publish_unconfirmed`: unknown (deadline passed, channel lost, refused by one of possibly several queues).
   */
  publish(message: OutgoingMessage, options?: PublishOptions): Promise<void>;
  /**
   * Resolves when the fate of every publish so far is sealed: answered by the broker, or its channel lost. Publishes
   * whose deadline has passed count until then, because they may still arrive. Never rejects; without a bound.
   */
  barrier(): Promise<void>;
  /** Publishes the broker has not answered yet. */
  readonly inFlight: number;
}

/** Hears what becomes of every publish. */
export interface PublishObserver {
  /** The broker has confirmed it, so long after it was published. */
  confirmed(ms: number): void;
  failed(error: unknown): void;
}

export interface PublisherOptions {
  readonly connection: BrokerConnection;
  readonly logger: Logger;
  /** From `publish` to its answer at the latest, in milliseconds. */
  readonly deadlineMs: number;
  /** Most unanswered publishes at once; bounds memory while the broker is slow. 1024 when absent. */
  readonly maxInFlight?: number;
  readonly observer?: PublishObserver;
}

interface OpenChannel {
  readonly channel: ConfirmChannel;
  readonly window: ConfirmWindow;
  /** Of the connection that the channel is on. */
  readonly generation: number;
}

/**
 * Publishes with confirms over one channel. `stop` waits for the answers of what was published (each comes by its
 * deadline) and refuses anything new.
 */
export function createPublisher(options: PublisherOptions): Publisher {
  const { connection, deadlineMs, maxInFlight = 1024, observer } = options;
  let open: OpenChannel | undefined;
  let generation = 0;
  let stopping: Promise<void> | undefined;

  const supervisor = createChannelSupervisor<ConfirmChannel>({
    connection,
    logger: options.logger.child({ part: 'publisher' }),
    create(model) {
      generation = connection.generation;
      return model.createConfirmChannel();
    },
    onOpen(channel) {
      const window = createConfirmWindow({ deadlineMs });
      channel.on('ack', ({ deliveryTag, multiple }) => window.settle(deliveryTag, multiple, true));
      channel.on('nack', ({ deliveryTag, multiple }) => window.settle(deliveryTag, multiple, false));
      channel.on('return', (message) => window.returned(String(message.properties.messageId)));
      open = { channel, window, generation };
    },
    onLost(reason) {
      open?.window.fail(reason);
      open = undefined;
    },
  });

  function publish(message: OutgoingMessage, { generation: wanted }: PublishOptions = {}): Promise<void> {
    if (stopping) return Promise.reject(unavailable('Publishing has ended.'));
    if (open === undefined) return Promise.reject(unavailable('The broker is not connected.'));
    if (connection.state === 'blocked') return Promise.reject(unavailable('The broker takes no publishes now.'));
    if (wanted !== undefined && wanted !== open.generation)
      return Promise.reject(unavailable('The connection to the broker is not the same any more.'));
    const { channel, window } = open;
    if (window.size >= maxInFlight) return Promise.reject(unavailable('Too many publishes are unanswered.'));
    return new Promise((resolve, reject) => {
      send(channel, message);
      window.add(message.messageId, resolve, reject);
    });
  }

  function toldTo(told: PublishObserver): Publisher['publish'] {
    return (message, publishOptions) => {
      const sentAtMs = performance.now();
      const published = publish(message, publishOptions);
      published.then(
        () => told.confirmed(performance.now() - sentAtMs),
        (error: unknown) => told.failed(error),
      );
      return published;
    };
  }

  return {
    publish: observer ? toldTo(observer) : publish,
    barrier: () => open?.window.settled() ?? Promise.resolve(),
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
      mandatory: message.mandatory ?? true,
      contentType: message.contentType ?? 'application/json',
      type: message.type,
      messageId: message.messageId,
      headers: message.headers,
      ...(message.replyTo !== undefined && { replyTo: message.replyTo }),
      ...(message.correlationId !== undefined && { correlationId: message.correlationId }),
      ...(message.expirationMs !== undefined && { expiration: message.expirationMs }),
    });
  } catch (error) {
    if (error instanceof IllegalOperationError) throw unavailable('The channel to the broker is closed.', error);
    throw error;
  }
}
