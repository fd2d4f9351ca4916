import { unconfirmed, UnroutableError } from './broker-errors.js';

interface Pending {
  readonly messageId: string;
  readonly expiresAtMs: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  returned: boolean;
  /** The deadline has passed and the caller knows; the broker has still not answered. */
  expired: boolean;
}

/** The publishes of one channel that the broker has not answered, by delivery tag (1, 2, 3 … as the protocol counts). */
export interface ConfirmWindow {
  /** Unanswered publishes, including those whose deadline has passed: their bytes may still wait to be sent. */
  readonly size: number;
  add(messageId: string, resolve: () => void, reject: (error: Error) => void): void;
  /** The broker's `basic.ack` (accepted) or `basic.nack` for one tag, or for every tag up to it. */
  settle(tag: number, multiple: boolean, accepted: boolean): void;
  /** The broker's `basic.return`: routed to no queue; its confirm follows. */
  returned(messageId: string): void;
  /** The channel is gone: whatever is unanswered is unknown for ever. */
  fail(cause: Error | undefined): void;
  /** Resolves when everything added so far was answered by the broker, or has failed. */
  settled(): Promise<void>;
  /** Resolves when every caller has an answer. */
  idle(): Promise<void>;
}

export interface ConfirmWindowOptions {
  /** From `add` to the rejection with `publish_unconfirmed`, in milliseconds. */
  readonly deadlineMs: number;
}

/** Tracks confirms without a closure or a timer for each message: one timer stands for the oldest deadline. */
export function createConfirmWindow({ deadlineMs }: ConfirmWindowOptions): ConfirmWindow {
  const pending = new Map<number, Pending>();
  let nextTag = 1;
  let lowestTag = 1;
  let nextToExpire = 1;
  let waiting = 0;
  let timer: NodeJS.Timeout | undefined;
  let onIdle: (() => void)[] = [];
  /** By ascending tag: who waits until nothing below it is open. */
  const onSettled: { readonly tag: number; readonly resolve: () => void }[] = [];

  function answered(): void {
    waiting -= 1;
    if (waiting > 0) return;
    const resolvers = onIdle;
    onIdle = [];
    for (const resolve of resolvers) resolve();
  }

  function settleOne(tag: number, accepted: boolean): void {
    const entry = pending.get(tag);
    if (entry === undefined) return;
    pending.delete(tag);
    if (entry.expired) return;
    if (entry.returned) entry.reject(new UnroutableError());
    // n.b. a nack speaks for all queues a message was routed to: one may have refused it while another took it.
    else if (!accepted) entry.reject(unconfirmed('A queue refused the message.'));
    else entry.resolve();
    answered();
  }

  /** Moves past everything answered and tells those who waited for it. */
  function advance(): void {
    while (lowestTag < nextTag && !pending.has(lowestTag)) lowestTag += 1;
    while (onSettled[0] !== undefined && onSettled[0].tag <= lowestTag) onSettled.shift()?.resolve();
  }

  /** Deadlines are in the order of the tags, so only the oldest needs a look. */
  function expire(): void {
    timer = undefined;
    const nowMs = performance.now();
    for (; nextToExpire < nextTag; nextToExpire++) {
      const entry = pending.get(nextToExpire);
      if (entry === undefined) continue;
      if (entry.expiresAtMs > nowMs) {
        timer = setTimeout(expire, entry.expiresAtMs - nowMs);
        return;
      }
      entry.expired = true;
      entry.reject(unconfirmed(`The broker did not confirm within ${deadlineMs} ms.`));
      answered();
    }
  }

  return {
    get size() {
      return pending.size;
    },
    add(messageId, resolve, reject) {
      const expiresAtMs = performance.now() + deadlineMs;
      pending.set(nextTag++, { messageId, expiresAtMs, resolve, reject, returned: false, expired: false });
      waiting += 1;
      timer ??= setTimeout(expire, deadlineMs);
    },
    settle(tag, multiple, accepted) {
      if (multiple) for (; lowestTag <= tag; lowestTag++) settleOne(lowestTag, accepted);
      else settleOne(tag, accepted);
      advance();
    },
    returned(messageId) {
      for (const entry of pending.values()) {
        if (entry.returned || entry.messageId !== messageId) continue;
        entry.returned = true;
        return;
      }
    },
    fail(cause) {
      clearTimeout(timer);
      for (const entry of pending.values()) {
        if (entry.expired) continue;
        entry.reject(unconfirmed('The connection to the broker was lost before the confirm.', cause));
        answered();
      }
      pending.clear();
      advance();
    },
    settled() {
      if (pending.size === 0) return Promise.resolve();
      const tag = nextTag;
      return new Promise((resolve) => onSettled.push({ tag, resolve }));
    },
    idle() {
      return waiting === 0 ? Promise.resolve() : new Promise((resolve) => onIdle.push(resolve));
    },
  };
}
