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
  /** Most deliveries unsettled at once, until `setPrefetch`. */
  readonly prefetch: number;
  readonly logger: Logger;
  /** Aborts when the consumer stops. */
  readonly halt: AbortSignal;
  readonly onDelivery: (received: Received) => void;
  /** Deliveries of this link that nobody works on yet are void. */
  readonly onLost: (link: Link) => void;
}

/** A channel that is open, and the consumer on it. */
interface Attachment {
  readonly channel: Channel;
  readonly link: OwnLink;
  /** Undefined until there is a consumer. */
  consumerTag: string | undefined;
  /** Of the consumer. */
  prefetch: number;
}

/** Receives from one queue, on a channel that is opened again after every loss. */
export interface Intake extends Service {
  readonly attached: boolean;
  /** Grows whenever a channel is lost or deliveries are given back: the broker may then deliver them elsewhere. */
  readonly generation: number;
  /** See `AdjustableConsumer.setPrefetch`. */
  setPrefetch(prefetch: number): Promise<void>;
  /** See `Consumer.barrier`. */
  barrier(): Promise<void>;
  /** Takes no more deliveries; those received can still be settled until `stop`. */
  cancel(): Promise<void>;
}

export function createIntake(options: IntakeOptions): Intake {
  const { connection, queue, logger, halt } = options;
  let { prefetch } = options;
  let current: Attachment | undefined;
  /** The latest change of the prefetch; one goes on at a time. */
  let tuning: Promise<void> = Promise.resolve();
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
      const attachment: Attachment = { channel, link, consumerTag: undefined, prefetch };
      current = attachment;
      loseLink = () => {
        if (lost.signal.aborted) return;
        generation += 1;
        lost.abort(new Error('the channel was lost'));
      };
      // At the event itself, so that no settlement in the same turn tries a dead channel.
      channel.once('close', loseLink);
      await attach(attachment);
      // It may have been changed while the broker was being told.
      tuning = tuning.then(reattach);
    },
    onLost() {
      const link = current?.link;
      current = undefined;
      loseLink();
      if (link) options.onLost(link);
    },
  });

  async function attach(attachment: Attachment): Promise<void> {
    const { channel, link } = attachment;
    attachment.prefetch = prefetch;
    await channel.prefetch(prefetch);
    if (canceled) return;
    const { consumerTag } = await channel.consume(queue, (message) => receive(message, channel, link));
    attachment.consumerTag = consumerTag;
    logger.info({ prefetch: attachment.prefetch }, 'attached to the queue');
    if (canceled) await channel.cancel(consumerTag);
  }

  /**
   * A prefetch holds for consumers that begin after it was set, so another consumer takes the place of this one. For a moment both
   * receive; what the first one received stays with the channel and is settled there.
   */
  async function reattach(): Promise<void> {
    const attachment = current;
    const before = attachment?.consumerTag;
    // Not attached yet, or not any more: the next consumer begins with the new prefetch.
    if (!attachment || before === undefined || attachment.prefetch === prefetch || canceled) return;
    try {
      await attach(attachment);
      await attachment.channel.cancel(before);
    } catch (error) {
      // n.b. amqplib rejects what is unanswered when the channel closes; the next one is opened by the supervisor.
      logger.warn({ err: error }, 'the prefetch could not be changed on this channel');
      attachment.channel.close().catch(() => undefined);
    }
  }

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
    setPrefetch(wanted) {
      prefetch = wanted;
      tuning = tuning.then(reattach);
      return tuning;
    },
    async cancel() {
      canceled = true;
      await withDeadline(tuning, CANCEL_TIMEOUT_MS, () => new Error('no answer')).catch(() => undefined);
      if (current?.consumerTag === undefined) return;
      const told = current.channel.cancel(current.consumerTag);
      await withDeadline(told, CANCEL_TIMEOUT_MS, () => new Error('no answer')).catch(() => undefined);
    },
    start: () => supervisor.start(),
    stop: () => supervisor.stop(),
  };
}
