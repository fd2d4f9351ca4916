import type { Channel, ConsumeMessage } from 'amqplib';
import { withDeadline, type Logger, type Service } from '@sluice/runtime';
import { unavailable } from './broker-errors.js';
import { createChannelSupervisor } from './channel-supervisor.js';
import type { BrokerConnection } from './connection.js';
import { toDelivery } from './delivery.js';
import { createLink, type Link, type OwnLink, type Received } from './link.js';

const CANCEL_TIMEOUT_MS = 3_000;

export interface IntakeOptions {
  readonly connection: BrokerConnection;
  readonly queue: string;
  readonly prefetch: number;
  readonly logger: Logger;
  /** Aborts when the consumer stops. */
  readonly halt: AbortSignal;
  readonly onDelivery: (received: Received) => void;
  /** Deliveries of this link that nobody works on yet are void. */
  readonly onLost: (link: Link) => void;
}

/** Receives from one queue, on a channel that is opened again after every loss. */
export interface Intake extends Service {
  readonly attached: boolean;
  /** Grows whenever a channel is lost or deliveries are given back: the broker may then deliver them elsewhere. */
  readonly generation: number;
  /** See `Consumer.barrier`. */
  barrier(): Promise<void>;
  /** Takes no more deliveries; those received can still be settled until `stop`. */
  cancel(): Promise<void>;
}

export function createIntake(options: IntakeOptions): Intake {
  const { connection, queue, prefetch, logger, halt } = options;
  let current: { readonly channel: Channel; readonly link: OwnLink; consumerTag: string | undefined } | undefined;
  let loseLink = (): void => undefined;
  let canceled = false;
  let generation = 0;

  const supervisor = createChannelSupervisor<Channel>({
    connection,
    logger,
    create: (model) => model.createChannel(),
    async onOpen(channel) {
      const lost = new AbortController();
      const link = createLink(channel, {
        lost: lost.signal,
        over: AbortSignal.any([lost.signal, halt]),
        onGivenBack: () => (generation += 1),
      });
      current = { channel, link, consumerTag: undefined };
      loseLink = () => {
        if (lost.signal.aborted) return;
        generation += 1;
        lost.abort(new Error('the channel was lost'));
      };
      // At the event itself, so that no settlement in the same turn tries a dead channel.
      channel.once('close', loseLink);
      await channel.prefetch(prefetch);
      if (canceled) return;
      const { consumerTag } = await channel.consume(queue, (message) => receive(message, channel, link));
      current.consumerTag = consumerTag;
      logger.info({ prefetch }, 'attached to the queue');
      if (canceled) await channel.cancel(consumerTag);
    },
    onLost() {
      const link = current?.link;
      current = undefined;
      loseLink();
      if (link) options.onLost(link);
    },
  });

  function receive(message: ConsumeMessage | null, channel: Channel, link: OwnLink): void {
    // n.b. null: the broker has cancelled the consumer (queue deleted, ack timeout on 4.3); the channel lives on, deaf.
    if (message === null) {
      logger.warn('the broker detached the consumer');
      channel.close().catch(() => undefined);
      return;
    }
    link.received(message.fields.deliveryTag);
    options.onDelivery({ delivery: toDelivery(message, queue), tag: message.fields.deliveryTag, link });
  }

  return {
    get attached() {
      return current?.consumerTag !== undefined && !current.link.lost.aborted && !canceled;
    },
    get generation() {
      return generation;
    },
    async barrier() {
      if (current === undefined) throw unavailable('The queue is not being consumed.');
      const { channel, link } = current;
      // Frames of a channel are in order: what the broker wrote before this answer has arrived with it. n.b.
      // amqplib rejects what is unanswered when the channel closes.
      await channel.checkQueue(queue).catch((error: unknown) => {
        throw unavailable('The queue does not answer.', error);
      });
      await link.settled();
    },
    async cancel() {
      canceled = true;
      if (current?.consumerTag === undefined) return;
      const told = current.channel.cancel(current.consumerTag);
      await withDeadline(told, CANCEL_TIMEOUT_MS, () => new Error('no answer')).catch(() => undefined);
    },
    start: () => supervisor.start(),
    stop: () => supervisor.stop(),
  };
}
