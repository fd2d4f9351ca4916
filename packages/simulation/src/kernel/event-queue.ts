import type { Owner } from './types.js';

/** Something that will happen. */
export interface Event {
  /** When, in microseconds since the start. */
  timeUs: number;
  /** When it would have happened if its process had not been stopped; what was due first comes first. */
  readonly dueUs: number;
  /** Orders events of one moment: first come, first served. */
  readonly sequence: number;
  readonly owner: Owner;
  readonly label: string;
  /** Undefined: cancelled. */
  action: (() => void) | undefined;
  /** A timer of the process, which after a pause goes off before what has come in meanwhile is read. */
  readonly isTimer: boolean;
}

/** A binary heap: the earliest event is at its root. Cancelled events stay until their time comes. */
export interface EventQueue {
  readonly size: number;
  push(event: Event): void;
  /** The earliest event, still queued. */
  peek(): Event | undefined;
  pop(): Event | undefined;
}

export function createEventQueue(): EventQueue {
  const heap: Event[] = [];

  // n.b. indices stay inside the array, so the assertions of both loops hold.
  function rise(from: number): void {
    const event = heap[from] as Event;
    let index = from;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = heap[above] as Event;
      if (!isBefore(event, parent)) break;
      heap[index] = parent;
      index = above;
    }
    heap[index] = event;
  }

  function sink(event: Event): void {
    let index = 0;
    for (;;) {
      let below = 2 * index + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && isBefore(heap[below + 1] as Event, heap[below] as Event)) below += 1;
      const child = heap[below] as Event;
      if (!isBefore(child, event)) break;
      heap[index] = child;
      index = below;
    }
    heap[index] = event;
  }

  return {
    get size() {
      return heap.length;
    },
    push(event) {
      heap.push(event);
      rise(heap.length - 1);
    },
    peek: () => heap[0],
    pop() {
      const first = heap[0];
      const last = heap.pop();
      if (last !== undefined && heap.length > 0) sink(last);
      return first;
    },
  };
}

function isBefore(a: Event, b: Event): boolean {
  if (a.timeUs !== b.timeUs) return a.timeUs < b.timeUs;
  return a.dueUs < b.dueUs || (a.dueUs === b.dueUs && a.sequence < b.sequence);
}
