import type { Broker } from './broker.js';
import { preconditionFailed, resourceLocked } from './broker-error.js';
import type { Confirms } from './confirms.js';
import type { Content, MethodName } from './frames.js';
import type { Entry } from './message.js';
import type { Consumer, Queue } from './queue.js';

/** A delivery that its client has not settled. */
export interface Unacked {
  readonly consumer: Consumer;
  readonly queue: Queue;
  readonly entry: Entry;
}

/** What a connection is to its channels. */
export interface ChannelOwner {
  /** The user it is authenticated as. */
  readonly user: string;
}

/** One open channel at the broker. */
export interface ChannelState {
  readonly broker: Broker;
  readonly owner: ChannelOwner;
  readonly send: (method: MethodName, fields: object, content?: Content) => void;
  /** Set once publishes are confirmed. */
  confirms: Confirms | undefined;
  /** Of consumers to come; 0 for no bound. */
  prefetch: number;
  deliveries: number;
  /** By delivery tag, ascending. */
  readonly unacked: Map<number, Unacked>;
  /** Those that may hold deliveries; cancelled ones stay. */
  readonly consumers: Map<string, { readonly consumer: Consumer; readonly queue: Queue }>;
  readonly cancelled: { readonly consumer: Consumer; readonly queue: Queue }[];
  /** Closed; nothing is sent or done any more. */
  closed: boolean;
}

/** The queue of that name, when the channel's connection may use it; throws 404 or 405. */
export function usableQueue({ broker, owner }: ChannelState, name: string): Queue {
  const queue = broker.queue(name);
  if (queue.owner !== undefined && queue.owner !== owner) throw resourceLocked(name);
  return queue;
}

/** Takes deliveries off the channel: one, or with `multiple` all up to it (all there are for 0). Throws 406. */
export function takeUnacked({ unacked }: ChannelState, tag: number, multiple: boolean): Unacked[] {
  const all = multiple && tag === 0;
  if (!all && !unacked.has(tag)) throw preconditionFailed(`unknown delivery tag ${tag}`);
  const taken: Unacked[] = [];
  for (const [other, delivery] of multiple ? [...unacked] : []) {
    if (!all && other > tag) break;
    unacked.delete(other);
    taken.push(delivery);
  }
  if (multiple) return taken;
  const delivery = unacked.get(tag);
  unacked.delete(tag);
  return delivery === undefined ? [] : [delivery];
}

/** Deliveries by who held them, each consumer's in the order they were given out. */
export function byConsumer(deliveries: readonly Unacked[]): { consumer: Consumer; queue: Queue; entries: Entry[] }[] {
  const groups = new Map<Consumer, { consumer: Consumer; queue: Queue; entries: Entry[] }>();
  for (const { consumer, queue, entry } of deliveries) {
    const group = groups.get(consumer);
    if (group === undefined) groups.set(consumer, { consumer, queue, entries: [entry] });
    else group.entries.push(entry);
  }
  return [...groups.values()];
}
