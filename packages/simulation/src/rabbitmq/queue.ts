import type { Entry, Message } from './message.js';
import type { QueueSettings } from './queue-settings.js';

/** Why a message has died in a queue. */
export type DeathReason = 'rejected' | 'expired' | 'maxlen' | 'delivery_limit';

/** Somebody a queue gives messages to. */
export interface Consumer {
  readonly tag: string;
  /** Deliveries need no settlement. */
  readonly noAck: boolean;
  /** How many deliveries it holds; kept by the queue. */
  held: number;
  /** It takes one more. */
  hasRoom(): boolean;
  deliver(entry: Entry): void;
  /** The queue was deleted. */
  onCancel(): void;
}

export interface QueueOptions {
  readonly name: string;
  /** The connection that it is exclusive to. */
  readonly owner: object | undefined;
  readonly settings: QueueSettings;
  readonly nowMs: () => number;
  /** Runs `action` after `delayMs`, unless the broker stops before. */
  readonly later: (delayMs: number, label: string, action: () => void) => void;
  /** What becomes of a dead message. */
  readonly onDead: (entry: Entry, reason: DeathReason) => void;
  /** Its last consumer has gone. */
  readonly onUnused: () => void;
}

/** One queue: what waits, who consumes, and who holds what. */
export interface Queue {
  readonly name: string;
  /** The connection that it is exclusive to, dead or alive. */
  readonly owner: object | undefined;
  readonly settings: QueueSettings;
  readonly ready: number;
  readonly unacked: number;
  /** Consumers, and those cancelled that still hold messages. */
  readonly consumers: number;
  /** Takes a message; false when it is full and refuses. */
  enqueue(message: Message): boolean;
  subscribe(consumer: Consumer): void;
  /** Gives it nothing more; what it holds stays its own. */
  unsubscribe(consumer: Consumer): void;
  /** The consumer is gone: what it holds goes back. */
  lose(consumer: Consumer): void;
  /** Deliveries are dealt with, or dead. */
  settle(consumer: Consumer, entries: readonly Entry[], death?: DeathReason): void;
  /** A client gives deliveries back. */
  giveBack(consumer: Consumer, entries: readonly Entry[]): void;
  /** Drops what is ready; returns how much that was. */
  purge(): number;
  /** Deletes it: consumers are told, messages are lost. */
  delete(): void;
  /** The broker has started again: nobody consumes, and what was held is back. False when the queue did not survive. */
  restart(): boolean;
}

export function createQueue({ name, owner, settings, nowMs, later, onDead, onUnused }: QueueOptions): Queue {
  /** n.b. a quorum queue gives out what was returned first, in the order of the returns; a classic one by place. */
  let returned: Entry[] = [];
  let waiting: Entry[] = [];
  const subscribed = new Set<Consumer>();
  /**
   * By whose turn it is. A consumer that is full leaves, at once in a quorum queue and when its turn comes in a classic
   * one, and comes back at the end.
   */
  let turns: Consumer[] = [];
  const held = new Map<Consumer, Set<Entry>>();
  let places = 0;
  let expiryAtMs = Infinity;
  let deleted = false;

  function enqueue(message: Message): boolean {
    if (settings.rejectsPublishes && ready() >= (settings.maxLength ?? Infinity)) return false;
    waiting.push({ message, place: places++, returns: 0, expiresAtMs: expiryOf(message) });
    dropOverflow();
    dispatch();
    return true;
  }

  function expiryOf({ content }: Message): number | undefined {
    const ownMs = content.properties.expiration;
    const ttlMs = Math.min(settings.ttlMs ?? Infinity, ownMs === undefined ? Infinity : Number(ownMs));
    return ttlMs === Infinity ? undefined : nowMs() + ttlMs;
  }

  const ready = (): number => returned.length + waiting.length;
  const head = (): Entry | undefined => returned[0] ?? waiting[0];
  const takeHead = (): Entry | undefined => returned.shift() ?? waiting.shift();

  function dispatch(): void {
    if (deleted) return;
    for (let first = livingHead(); first !== undefined; first = livingHead()) {
      const consumer = turns.shift();
      if (consumer === undefined) return wakeAt(first.expiresAtMs);
      if (!consumer.hasRoom()) continue;
      takeHead();
      give(consumer, first);
      if (!settings.quorum || consumer.hasRoom()) turns.push(consumer);
    }
  }

  function give(consumer: Consumer, entry: Entry): void {
    if (!consumer.noAck) {
      held.get(consumer)?.add(entry);
      consumer.held += 1;
    }
    consumer.deliver(entry);
  }

  /** Only the head can expire: whatever waits behind a message that lives longer waits with it. */
  function livingHead(): Entry | undefined {
    for (let first = head(); first !== undefined; first = head()) {
      if (first.expiresAtMs === undefined || first.expiresAtMs > nowMs()) return first;
      takeHead();
      onDead(first, 'expired');
    }
    return undefined;
  }

  function wakeAt(atMs = Infinity): void {
    if (atMs >= expiryAtMs) return;
    expiryAtMs = atMs;
    // A microsecond more, because the time of an event is rounded to one.
    later(atMs - nowMs() + 0.001, `rabbitmq: expiry in ${name}`, () => {
      if (expiryAtMs === atMs) expiryAtMs = Infinity;
      dispatch();
    });
  }

  /** Returns how many have died of it. */
  function putBack(entries: readonly Entry[]): number {
    let deaths = 0;
    for (const entry of entries) {
      entry.returns += 1;
      if (settings.deliveryLimit !== undefined && entry.returns > settings.deliveryLimit) {
        deaths += 1;
        onDead(entry, 'delivery_limit');
      } else if (settings.quorum) returned.push(entry);
      else waiting.splice(placeFor(entry), 0, entry);
    }
    dropOverflow();
    return deaths;
  }

  function takeBack(consumer: Consumer, entries: readonly Entry[]): void {
    if (!settings.quorum || settings.deliveryLimit !== undefined) {
      // n.b. a message that dies of the delivery limit gives its consumer credit twice, so it may hold one more than its
      // prefetch from then on (seen with 3.10.8).
      consumer.held -= putBack(entries);
      return;
    }
    // n.b. a quorum queue without a delivery limit puts what a client gives back behind all others, to shorten its log.
    for (const entry of entries) waiting.push({ ...entry, place: places++, returns: entry.returns + 1 });
  }

  function dropOverflow(): void {
    if (settings.rejectsPublishes) return;
    for (let over = ready() - (settings.maxLength ?? Infinity); over > 0; over--) {
      const first = takeHead();
      if (first !== undefined) onDead(first, 'maxlen');
    }
  }

  function placeFor(entry: Entry): number {
    const index = waiting.findIndex((other) => other.place > entry.place);
    return index < 0 ? waiting.length : index;
  }

  /** Takes it off those who hold messages, when it has gone and holds none. */
  function forgetIfDone(consumer: Consumer): void {
    if (!subscribed.has(consumer) && held.get(consumer)?.size === 0) held.delete(consumer);
  }

  function release(consumer: Consumer, entries: readonly Entry[]): readonly Entry[] {
    const own = held.get(consumer);
    const released = entries.filter((entry) => own?.delete(entry) === true);
    consumer.held -= released.length;
    if (released.length > 0 && subscribed.has(consumer) && !turns.includes(consumer)) turns.push(consumer);
    forgetIfDone(consumer);
    return released;
  }

  function unsubscribe(consumer: Consumer): void {
    if (!subscribed.delete(consumer)) return;
    turns = turns.filter((other) => other !== consumer);
    forgetIfDone(consumer);
    if (subscribed.size === 0 && !deleted) onUnused();
  }

  return {
    name,
    owner,
    settings,
    get ready() {
      return ready();
    },
    get unacked() {
      let count = 0;
      for (const entries of held.values()) count += entries.size;
      return count;
    },
    get consumers() {
      return held.size;
    },
    enqueue,
    subscribe(consumer) {
      subscribed.add(consumer);
      turns.push(consumer);
      held.set(consumer, new Set());
      dispatch();
    },
    unsubscribe,
    lose(consumer) {
      unsubscribe(consumer);
      putBack(release(consumer, [...(held.get(consumer) ?? [])]));
      dispatch();
    },
    settle(consumer, entries, death) {
      const settled = release(consumer, entries);
      if (death !== undefined) for (const entry of settled) onDead(entry, death);
      dispatch();
    },
    giveBack(consumer, entries) {
      takeBack(consumer, release(consumer, entries));
      dispatch();
    },
    purge() {
      const count = ready();
      returned = [];
      waiting = [];
      return count;
    },
    delete() {
      deleted = true;
      const gone = [...subscribed];
      subscribed.clear();
      turns = [];
      held.clear();
      for (const consumer of gone) consumer.onCancel();
    },
    restart() {
      subscribed.clear();
      turns = [];
      expiryAtMs = Infinity;
      for (const entries of held.values()) putBack([...entries]);
      held.clear();
      if (!settings.quorum) waiting = waiting.filter(({ message }) => message.content.properties.deliveryMode === 2);
      dispatch(); // sets the alarm for what expires next
      return settings.durable && !settings.exclusive;
    },
  };
}
