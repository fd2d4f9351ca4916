import { randomUUID } from 'node:crypto';
import type { Channel, ConsumeMessage } from 'amqplib';
import { withDeadline, type Logger, type Service } from '@sluice/runtime';
import { createChannelSupervisor } from './channel-supervisor.js';
import type { BrokerConnection } from './connection.js';
import { toDelivery, type Delivery } from './delivery.js';

const DELETE_TIMEOUT_MS = 3_000;
/** Nothing in an inbox is worth reading after that; n.b. it also bounds what piles up behind a process that stands still. */
const MESSAGE_TTL_MS = 60_000;
const MOST_MESSAGES = 10_000;

export interface InboxOptions {
  readonly connection: BrokerConnection;
  /** Name of the queue, the same after a reconnect; a new unique one each time when absent. */
  readonly queue?: string;
  /** Fanout exchange whose messages come here too; it must exist. */
  readonly bindTo?: string;
  /** Called for each message, in order; it must not wait. A message it throws at is logged and gone. */
  readonly onMessage: (delivery: Delivery) => void;
  /** Called whenever messages can arrive again, the first time included. */
  readonly onAttached?: () => void;
  readonly logger: Logger;
}

/** A queue of one process, for news and answers that are worth nothing later. */
export interface Inbox extends Service {
  /** The broker delivers to it. */
  readonly attached: boolean;
  /** The queue's name while attached. */
  readonly queue: string | undefined;
}

/**
 * Receives what is sent to one process: at most once, and only while it is there. The queue is exclusive to its connection
 * and ends with it, and with `stop`; while a channel is opened again it waits. After a reconnect it is declared on the new
 * connection before `attached` is true again.
 *
 * A named queue is taken over only when the broker has given up the connection that had it before (it refuses with 405
 * until then, and the inbox tries again): while it is attached, no earlier connection of its owner lives.
 */
export function createInbox(options: InboxOptions): Inbox {
  const { connection, bindTo, onMessage, onAttached } = options;
  const logger = options.logger.child({ part: 'inbox' });
  let current: { readonly channel: Channel; readonly queue: string } | undefined;
  let stopping: Promise<void> | undefined;

  const supervisor = createChannelSupervisor<Channel>({
    connection,
    logger,
    create: (model) => model.createChannel(),
    async onOpen(channel) {
      const queue = options.queue ?? `inbox.${randomUUID()}`;
      const lost = (): void => void (current = undefined);
      channel.once('close', lost);
      await declareInbox(channel, queue);
      if (bindTo !== undefined) await channel.bindQueue(queue, bindTo, '');
      await channel.consume(queue, (message) => receive(message, channel, queue), { noAck: true });
      current = { channel, queue };
      onAttached?.();
    },
    onLost() {
      current = undefined;
    },
  });

  function receive(message: ConsumeMessage | null, channel: Channel, queue: string): void {
    if (message === null) {
      logger.warn({ queue }, 'the inbox was deleted, making another');
      channel.close().catch(() => undefined);
      return;
    }
    try {
      onMessage(toDelivery(message, queue));
    } catch (error) {
      logger.error({ err: error, type: message.properties.type as unknown }, 'a message to the inbox failed');
    }
  }

  async function deleteQueue(): Promise<void> {
    if (current === undefined) return;
    const { channel, queue } = current;
    current = undefined;
    const gone = channel.deleteQueue(queue);
    await withDeadline(gone, DELETE_TIMEOUT_MS, () => new Error('no answer')).catch(() => undefined);
  }

  return {
    get attached() {
      return current !== undefined;
    },
    get queue() {
      return current?.queue;
    },
    start: () => supervisor.start(),
    stop() {
      stopping ??= deleteQueue().then(() => supervisor.stop());
      return stopping;
    },
  };
}

/**
 * n.b. classic, because exclusive queues cannot be quorum queues; and not auto-delete: it must not vanish between two
 * channels of one connection, because its absence says that the connection is gone.
 */
async function declareInbox(channel: Channel, queue: string): Promise<void> {
  await channel.assertQueue(queue, {
    exclusive: true,
    durable: false,
    messageTtl: MESSAGE_TTL_MS,
    maxLength: MOST_MESSAGES,
    arguments: { 'x-queue-type': 'classic' },
  });
}
