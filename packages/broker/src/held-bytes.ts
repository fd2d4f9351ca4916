import type { Link, Received } from './link.js';

/** By then what was given back has come again, or went elsewhere. */
const PATIENCE_MS = 1_000;
/**
 * What was delivered this often before is taken whether there is room or not: the queue's delivery limit (20) would end it where it comes
 * to one full consumer after the other, and crashes need some of that number, too.
 */
const MOST_RETURNS = 5;

/** A delivery that waits for room, without its body. */
interface Parked {
  readonly tag: number;
  readonly link: Link;
  readonly bytes: number;
}

/**
 * Keeps the bodies that a consumer has in hand within a number of bytes, which the broker's prefetch, a number of deliveries, does not.
 *
 * What comes when there is no room keeps its place among the unsettled deliveries, so the broker sends nothing instead, and
 * loses its body. It is given back when as much was settled, and then comes again with the body, here or elsewhere.
 */
export interface HeldBytes {
  /**
   * Whether there is room for a delivery; always when nothing is in hand, or when it was delivered often. If not, it is not to be worked
   * on.
   */
  take(received: Received): boolean;
  /** These were taken, and are settled, lost or given back. */
  release(received: readonly Received[]): void;
  /** Those that wait on this link are void. */
  forget(link: Link): void;
  /** Gives back all that wait. */
  giveBackAll(): void;
}

/** @param maxBytes most bytes of bodies in hand; one larger body is taken by itself. */
export function createHeldBytes(maxBytes: number): HeldBytes {
  let held = 0;
  /** Of what was settled since deliveries began to wait, what was not given to any of them. */
  let room = 0;
  let parked: Parked[] = [];
  let timer: NodeJS.Timeout | undefined;

  function giveBack({ link, ...one }: Parked): void {
    link.giveBack([one]);
  }

  function fillRoom(freed: number): void {
    room = held === 0 ? maxBytes : Math.min(Math.max(0, maxBytes - held), room + freed);
    // n.b. one that is larger than all the room there can be waits for nobody when nothing is in hand.
    let isAlone = held === 0;
    for (let first = parked[0]; first && (isAlone || first.bytes <= room); first = parked[0]) {
      isAlone = false;
      room -= first.bytes;
      parked.shift();
      giveBack(first);
    }
    if (held === 0 && parked.length > 0) lookAgain();
  }

  /** n.b. when what was given back went elsewhere, nothing is settled here that could make room for the next. */
  function lookAgain(): void {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (held === 0 && parked.length > 0) fillRoom(0);
    }, PATIENCE_MS);
  }

  return {
    take({ delivery, tag, link }) {
      const bytes = delivery.body.length;
      if (held > 0 && held + bytes > maxBytes && returnsOf(delivery) < MOST_RETURNS) {
        if (parked.length === 0) room = 0;
        parked.push({ tag, link, bytes });
        return false;
      }
      held += bytes;
      return true;
    },
    release(received) {
      const freed = received.reduce((sum, { delivery }) => sum + delivery.body.length, 0);
      held -= freed;
      if (parked.length > 0) fillRoom(freed);
    },
    forget(link) {
      parked = parked.filter((one) => one.link !== link);
    },
    giveBackAll() {
      clearTimeout(timer);
      for (const one of parked.splice(0)) giveBack(one);
    },
  };
}

/** How often the broker says that it had the message back. */
function returnsOf({ headers }: Received['delivery']): number {
  return Number(headers['x-delivery-count'] ?? 0);
}
