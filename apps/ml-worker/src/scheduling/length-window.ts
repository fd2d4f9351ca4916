import { createDueQueue, type DueItem, type DueQueue } from './due-queue.js';

/** What the window must know of a text. */
export interface WindowItem extends DueItem {
  /** Length, in the model's own tokens. */
  readonly tokens: number;
  /** What running it by itself is predicted to take, in milliseconds. */
  readonly aloneMs: number;
}

/** The waiting texts of one model, by length. */
export interface LengthWindow<Item extends WindowItem> {
  readonly size: number;
  /** Sum over all texts. */
  readonly tokens: number;
  /** Sum over all texts. */
  readonly aloneMs: number;
  add(item: Item): void;
  /** The text that is due first. */
  first(): Item | undefined;
  /** The nearest waiting length up to `length`, and the nearest above it; undefined where there is none. */
  atMost(length: number): number | undefined;
  above(length: number): number | undefined;
  /** Takes out the text of this length that is due first; the length must be waiting. */
  take(length: number): Item;
  /** Takes out this very text. False when it is not waiting. */
  remove(item: Item): boolean;
}

/**
 * Keeps texts in one queue for each length, and all of them in one more, so that neither finding the text that is due
 * first nor finding one of a length depends on how many wait.
 */
export function createLengthWindow<Item extends WindowItem>(): LengthWindow<Item> {
  const waiting = new Set<Item>();
  const isWaiting = (item: Item): boolean => waiting.has(item);
  const all = createDueQueue(isWaiting);
  const buckets = new Map<number, DueQueue<Item>>();
  /** Ascending; exactly the keys of `buckets`. */
  const lengths: number[] = [];
  let tokens = 0;
  let aloneMs = 0;

  function leave(item: Item): void {
    waiting.delete(item);
    tokens -= item.tokens;
    // n.b. what is left of a sum of fractions is not exactly nothing.
    aloneMs = waiting.size === 0 ? 0 : aloneMs - item.aloneMs;
    if (buckets.get(item.tokens)?.first()) return;
    buckets.delete(item.tokens);
    lengths.splice(positionOf(lengths, item.tokens), 1);
  }

  return {
    get size() {
      return waiting.size;
    },
    get tokens() {
      return tokens;
    },
    get aloneMs() {
      return aloneMs;
    },
    add(item) {
      let bucket = buckets.get(item.tokens);
      if (!bucket) {
        buckets.set(item.tokens, (bucket = createDueQueue(isWaiting)));
        lengths.splice(positionOf(lengths, item.tokens), 0, item.tokens);
      }
      waiting.add(item);
      bucket.add(item);
      all.add(item);
      tokens += item.tokens;
      aloneMs += item.aloneMs;
    },
    first: () => all.first(),
    atMost: (length) => lengths[positionOf(lengths, length + 1) - 1],
    above: (length) => lengths[positionOf(lengths, length + 1)],
    take(length) {
      const item = buckets.get(length)?.first();
      if (!item) throw new RangeError(`no text of ${length} tokens is waiting`);
      leave(item);
      return item;
    },
    remove(item) {
      if (!waiting.has(item)) return false;
      leave(item);
      return true;
    },
  };
}

/** Where `value` is, or would be, in an ascending list of whole numbers. */
function positionOf(ascending: readonly number[], value: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ascending[middle] ?? Infinity) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
