/** What has its turn at a time. */
export interface DueItem {
  /** Order: the smallest goes first. Finite. */
  readonly dueAtMs: number;
}

/** Items by the time they are due. Whoever holds it says which still wait; the others are dropped when they come up. */
export interface DueQueue<Item extends DueItem> {
  add(item: Item): void;
  /** The waiting item that is due first. It stays until it waits no more. */
  first(): Item | undefined;
}

/** Fewer entries than this are not worth looking through for those that wait no more. */
const LEAST_TO_COMPACT = 64;

/**
 * A binary heap, so adding and taking cost as much as the logarithm of the number of items. An item that waits no more
 * is not searched for: it is dropped when it comes up, or when the heap has doubled since all such were last dropped.
 */
export function createDueQueue<Item extends DueItem>(isWaiting: (item: Item) => boolean): DueQueue<Item> {
  /** No entry is due before its parent, which is at (position − 1) >> 1. */
  let heap: Item[] = [];
  let compactAt = LEAST_TO_COMPACT;

  function rise(item: Item, from: number): void {
    let position = from;
    while (position > 0) {
      const above = (position - 1) >> 1;
      const parent = heap[above];
      if (!parent || parent.dueAtMs <= item.dueAtMs) break;
      heap[position] = parent;
      position = above;
    }
    heap[position] = item;
  }

  function sink(item: Item, from: number): void {
    let position = from;
    for (;;) {
      const left = position * 2 + 1;
      const right = left + 1;
      const below = dueAt(right) < dueAt(left) ? right : left;
      const child = heap[below];
      if (!child || child.dueAtMs >= item.dueAtMs) break;
      heap[position] = child;
      position = below;
    }
    heap[position] = item;
  }

  function dueAt(position: number): number {
    return heap[position]?.dueAtMs ?? Infinity;
  }

  function dropFirst(): void {
    const last = heap.pop();
    if (last && heap.length > 0) sink(last, 0);
  }

  function compact(): void {
    heap = heap.filter(isWaiting).sort((a, b) => a.dueAtMs - b.dueAtMs);
    compactAt = Math.max(LEAST_TO_COMPACT, heap.length * 2);
  }

  return {
    add(item) {
      if (heap.length >= compactAt) compact();
      heap.push(item);
      rise(item, heap.length - 1);
    },
    first() {
      for (;;) {
        const item = heap[0];
        if (!item || isWaiting(item)) return item;
        dropFirst();
      }
    },
  };
}
