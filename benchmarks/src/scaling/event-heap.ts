/** Something that happens at a time, in seconds. */
export interface Timed {
  readonly at: number;
}

/** Events by time, the next one first: a binary heap. */
export interface EventHeap<Event extends Timed> {
  /** Infinity when there is none. */
  readonly nextAt: number;
  add(event: Event): void;
  /** @returns undefined when there is none. */
  take(): Event | undefined;
}

export function createEventHeap<Event extends Timed>(): EventHeap<Event> {
  const heap: Event[] = [];
  const atOf = (position: number): number => heap[position]?.at ?? Infinity;

  function put(event: Event, position: number): void {
    heap[position] = event;
  }

  function sink(event: Event): void {
    let position = 0;
    for (;;) {
      const left = 2 * position + 1;
      const child = atOf(left + 1) < atOf(left) ? left + 1 : left;
      const below = heap[child];
      if (!below || below.at >= event.at) break;
      put(below, position);
      position = child;
    }
    put(event, position);
  }

  return {
    get nextAt() {
      return atOf(0);
    },
    add(event) {
      let position = heap.length;
      while (position > 0) {
        const above = (position - 1) >> 1;
        const parent = heap[above];
        if (!parent || parent.at <= event.at) break;
        put(parent, position);
        position = above;
      }
      put(event, position);
    },
    take() {
      const first = heap[0];
      const last = heap.pop();
      if (last && heap.length > 0) sink(last);
      return first;
    },
  };
}
