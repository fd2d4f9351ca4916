import type { Channel, ConsumeMessage } from 'amqplib';
import { withDeadline, type Logger, type Service } from '@sluice/runtime';
import { createAcknowledgements } from './acknowledgements.js';
import { unavailable } from './broker-errors.js';
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

/** A link as the intake holds it. */
interface OwnLink extends Link {
  /** Notes the highest tag so far. */
  received(tag: number): void;
  /** Resolves when everything received so far is acknowledged or given back; rejects when the channel is lost before. */
  settled(): Promise<void>;
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

interface LinkOptions {
  readonly lost: AbortSignal;
  readonly over: AbortSignal;
  readonly onGivenBack: () => void;
}

function createLink(channel: Channel, { lost, over, onGivenBack }: LinkOptions): OwnLink {
  const acknowledgements = createAcknowledgements();
  /** Who waits for a tag and all below it, ascending. */
  const waiters: { readonly tag: number; readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  let highestTag = 0;

  function tellSettled(): void {
    while (waiters[0] !== undefined && acknowledgements.settledUpTo(waiters[0].tag)) waiters.shift()?.resolve();
  }

  const lostError = (): Error => unavailable('The channel was lost before its deliveries were settled.');
  lost.addEventListener(
    'abort',
    () => {
      for (const { reject } of waiters.splice(0)) reject(lostError());
    },
    { once: true },
  );

  return {
    lost,
    over,
    received(tag) {
      highestTag = tag;
    },
    settled() {
      if (lost.aborted) return Promise.reject(lostError());
      if (acknowledgements.settledUpTo(highestTag)) return Promise.resolve();
      return new Promise((resolve, reject) => waiters.push({ tag: highestTag, resolve, reject }));
    },
    acknowledge(received) {
      if (lost.aborted) return;
      for (const { tag, multiple } of acknowledgements.frames(received.map((one) => one.tag).sort((a, b) => a - b)))
        channel.ack(tagged(tag), multiple);
      tellSettled();
    },
    giveBack(received) {
      if (lost.aborted) return;
      for (const { tag } of received) {
        acknowledgements.forget(tag);
        // n.b. nack, not close: 4.3 does not count a nacked delivery towards the delivery limit, but a lost one.
        channel.nack(tagged(tag), false, true);
      }
      if (received.length > 0) onGivenBack();
      tellSettled();
    },
  };
}

/** amqplib reads nothing but the tag of a message that is settled. */
function tagged(deliveryTag: number): ConsumeMessage {
  return { fields: { deliveryTag } } as ConsumeMessage;
}
