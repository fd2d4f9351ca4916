/** What the window must know of a text. */
export interface WindowItem {
  /** Length, in the model's own tokens. */
  readonly tokens: number;
  /** Order between texts: the smallest goes first. Finite; within a lane it must not fall from one `add` to the next. */
  readonly dueAtMs: number;
  /** Texts of a lane are kept in the order they were added. */
  readonly lane: string;
}

/** The waiting texts of one model, by length. */
export interface LengthWindow<Item extends WindowItem> {
  /** Sum over all texts. */
  readonly tokens: number;
  add(item: Item): void;
  /** The text that is due first. */
  first(): Item | undefined;
  /** The waiting lengths next to `length`: itself if there is one, else the nearest below and the nearest above. */
  neighbours(length: number): readonly number[];
  /** Takes out the text of this length that is due first; the length must be waiting. */
  take(length: number): Item;
  /** Takes out this very text. False when it is not waiting. */
  remove(item: Item): boolean;
}

/**
 * Keeps texts in one bucket for each length, so that looking costs as much as there are distinct lengths, however
 * many texts wait.
 */
export function createLengthWindow<Item extends WindowItem>(): LengthWindow<Item> {
  const buckets = new Map<number, Bucket<Item>>();
  /** Ascending; exactly the keys of `buckets`. */
  const lengths: number[] = [];
  let tokens = 0;

  /** A text of this length has left its bucket. */
  function leave(length: number): void {
    tokens -= length;
    if (buckets.get(length)?.first()) return;
    buckets.delete(length);
    lengths.splice(positionOf(lengths, length), 1);
  }

  return {
    get tokens() {
      return tokens;
    },
    add(item) {
      let bucket = buckets.get(item.tokens);
      if (!bucket) {
        buckets.set(item.tokens, (bucket = createBucket<Item>()));
        lengths.splice(positionOf(lengths, item.tokens), 0, item.tokens);
      }
      bucket.add(item);
      tokens += item.tokens;
    },
    first() {
      let first: Item | undefined;
      for (const bucket of buckets.values()) {
        const candidate = bucket.first();
        if (candidate && (!first || candidate.dueAtMs < first.dueAtMs)) first = candidate;
      }
      return first;
    },
    neighbours(length) {
      if (buckets.has(length)) return [length];
      const at = positionOf(lengths, length);
      return [lengths[at - 1], lengths[at]].filter((neighbour) => neighbour !== undefined);
    },
    take(length) {
      const item = buckets.get(length)?.take();
      if (!item) throw new RangeError(`no text of ${length} tokens is waiting`);
      leave(length);
      return item;
    },
    remove(item) {
      if (!buckets.get(item.tokens)?.remove(item)) return false;
      leave(item.tokens);
      return true;
    },
  };
}

/** Texts of one length: a queue for each lane, because within a lane the order of arrival is the order of need. */
interface Bucket<Item extends WindowItem> {
  add(item: Item): void;
  first(): Item | undefined;
  take(): Item | undefined;
  remove(item: Item): boolean;
}

function createBucket<Item extends WindowItem>(): Bucket<Item> {
  const lanes = new Map<string, { items: Item[]; head: number }>();

  function firstLane() {
    let first: { items: Item[]; head: number } | undefined;
    for (const lane of lanes.values()) {
      const due = lane.items[lane.head]?.dueAtMs ?? Infinity;
      if (due < (first?.items[first.head]?.dueAtMs ?? Infinity)) first = lane;
    }
    return first;
  }

  return {
    add(item) {
      const lane = lanes.get(item.lane);
      if (lane) lane.items.push(item);
      else lanes.set(item.lane, { items: [item], head: 0 });
    },
    first() {
      const lane = firstLane();
      return lane?.items[lane.head];
    },
    take() {
      const lane = firstLane();
      const item = lane?.items[lane.head];
      if (!lane || !item) return undefined;
      lane.head += 1;
      // n.b. shift() on a long array is slow; drop the used front once it is half of the array.
      if (lane.head * 2 > lane.items.length) {
        lane.items.splice(0, lane.head);
        lane.head = 0;
      }
      return item;
    },
    remove(item) {
      const lane = lanes.get(item.lane);
      const at = lane?.items.indexOf(item, lane.head) ?? -1;
      if (at >= 0) lane?.items.splice(at, 1);
      return at >= 0;
    },
  };
}

/** Where `value` is, or would be, in an ascending list. */
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
