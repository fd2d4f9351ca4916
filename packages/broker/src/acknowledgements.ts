/** One `basic.ack`: of one tag, or of every unacknowledged tag up to it. */
export interface AckFrame {
  readonly tag: number;
  readonly multiple: boolean;
}

export interface Acknowledgements {
  /** The fewest frames that acknowledge exactly these tags (ascending, each once in its life). */
  frames(tags: readonly number[]): readonly AckFrame[];
  /** A tag that was given back to the queue: a later `multiple` may pass over it. */
  forget(tag: number): void;
  /** Every tag up to this one is acknowledged or given back. */
  settledUpTo(tag: number): boolean;
}

/**
 * Turns settled deliveries of one channel into acks. `multiple` speaks for every lower tag too, so it is only used as
 * far as nothing below is still open.
 */
export function createAcknowledgements(): Acknowledgements {
  let lowestOpen = 1;
  const settledAbove = new Set<number>();

  function settle(tag: number): void {
    settledAbove.add(tag);
    while (settledAbove.delete(lowestOpen)) lowestOpen += 1;
  }

  return {
    frames(tags) {
      for (const tag of tags) settle(tag);
      const covered = tags.filter((tag) => tag < lowestOpen);
      const alone = tags.slice(covered.length).map((tag) => ({ tag, multiple: false }));
      const last = covered.at(-1);
      return last === undefined ? alone : [{ tag: last, multiple: covered.length > 1 }, ...alone];
    },
    forget: settle,
    settledUpTo: (tag) => tag < lowestOpen,
  };
}
