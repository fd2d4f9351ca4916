import type { Channel, ConsumeMessage } from 'amqplib';
import { withDeadline, type Logger, type Service } from '@sluice/runtime';
import { createAcknowledgements } from './acknowledgements.js';
import { createChannelSupervisor } from './channel-supervisor.js';
import type { BrokerConnection } from './connection.js';
import { toDelivery, type Delivery } from './delivery.js';

const CANCEL_TIMEOUT_MS = 3_000;

/** The channel that deliveries came on. Acks are only possible here; when it is lost the broker delivers them again. */
export interface Link {
  /** Aborts when the channel is lost. */
  readonly lost: AbortSignal;
  /** Aborts when the channel is lost or the consumer stops: nothing is worth waiting for any more. */
  readonly over: AbortSignal;
  /** Acknowledges these deliveries; does nothing when the channel is lost. */
  acknowledge(received: readonly Received[]): void;
  /** Puts these back into the queue; does nothing when the channel is lost (the broker has done it). */
  giveBack(received: readonly Received[]): void;
}

export interface Received {
  readonly delivery: Delivery;
  readonly tag: number;
  readonly link: Link;
}

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
  /** Takes no more deliveries; those received can still be settled until `stop`. */
  cancel(): Promise<void>;
}

export function createIntake(options: IntakeOptions): Intake {
  const { connection, queue, prefetch, logger, halt } = options;
  let current: { readonly channel: Channel; readonly link: Link; consumerTag: string | undefined } | undefined;
  let loseLink = (): void => undefined;
  let canceled = false;

  const supervisor = createChannelSupervisor<Channel>({
    connection,
    logger,
    create: (model) => model.createChannel(),
    async onOpen(channel) {
      const lost = new AbortController();
      const link = createLink(channel, lost.signal, AbortSignal.any([lost.signal, halt]));
      current = { channel, link, consumerTag: undefined };
      loseLink = () => lost.abort(new Error('the channel was lost'));
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

  function receive(message: ConsumeMessage | null, channel: Channel, link: Link): void {
    // n.b. null: the broker has cancelled the consumer (queue deleted, ack timeout on 4.3); the channel lives on, deaf.
    if (message === null) {
      logger.warn('the broker detached the consumer');
      channel.close().catch(() => undefined);
      return;
    }
    options.onDelivery({ delivery: toDelivery(message, queue), tag: message.fields.deliveryTag, link });
  }

  return {
    get attached() {
      return current?.consumerTag !== undefined && !current.link.lost.aborted && !canceled;
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

function createLink(channel: Channel, lost: AbortSignal, over: AbortSignal): Link {
  const acknowledgements = createAcknowledgements();
  return {
    lost,
    over,
    acknowledge(received) {
      if (lost.aborted) return;
      for (const { tag, multiple } of acknowledgements.frames(received.map((one) => one.tag).sort((a, b) => a - b)))
        channel.ack(tagged(tag), multiple);
    },
    giveBack(received) {
      if (lost.aborted) return;
      for (const { tag } of received) {
        acknowledgements.forget(tag);
        // n.b. nack, not close: 4.3 does not count a nacked delivery towards the delivery limit, but a lost one.
        channel.nack(tagged(tag), false, true);
      }
    },
  };
}

/** amqplib reads nothing but the tag of a message that is settled. */
function tagged(deliveryTag: number): ConsumeMessage {
  return { fields: { deliveryTag } } as ConsumeMessage;
}
