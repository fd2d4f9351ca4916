import type { Channel, ConsumeMessage } from 'amqplib';
import { createAcknowledgements } from './acknowledgements.js';
import { unavailable } from './broker-errors.js';
import type { Delivery } from './delivery.js';

/** The channel that deliveries came on. Acks are only possible here; when it is lost the broker delivers them again. */
export interface Link {
  /** Aborts when the channel is lost. */
  readonly lost: AbortSignal;
  /** Aborts when the channel is lost or the consumer stops: nothing is worth waiting for any more. */
  readonly over: AbortSignal;
  /** Acknowledges these deliveries; does nothing when the channel is lost. */
  acknowledge(received: readonly Received[]): void;
  /** Puts these back into the queue; does nothing when the channel is lost (the broker has done it). */
  giveBack(received: readonly Pick<Received, 'tag'>[]): void;
}

/** A link as the intake holds it. */
export interface OwnLink extends Link {
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

export interface LinkOptions {
  readonly lost: AbortSignal;
  readonly over: AbortSignal;
  /** After deliveries were given back. */
  readonly onGivenBack: () => void;
}

/** Settles what one channel has delivered. */
export function createLink(channel: Channel, { lost, over, onGivenBack }: LinkOptions): OwnLink {
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
