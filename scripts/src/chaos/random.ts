/** Numbers that look random and are a function of the seed alone. */
export interface Random {
  /** 0 ≤ x < 1. */
  next(): number;
  /** A whole number, both ends included. */
  between(lowest: number, highest: number): number;
  /** One of `items`, which must not be empty; each as likely, or in proportion to `weightOf`. */
  pick<T>(items: readonly T[], weightOf?: (item: T) => number): T;
  /** A stream of its own: how much is drawn from it changes nothing here. */
  fork(): Random;
}

const TWO_TO_32 = 2 ** 32;

/** `seed`: a whole number from 0 to 2^32 − 1. The generator is Mulberry32. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;

  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / TWO_TO_32;
  }

  return {
    next,
    between: (lowest, highest) => lowest + Math.floor(next() * (highest - lowest + 1)),
    pick(items, weightOf = () => 1) {
      let left = next() * items.reduce((sum, item) => sum + weightOf(item), 0);
      const found = items.find((item) => (left -= weightOf(item)) < 0) ?? items.at(-1);
      if (found === undefined) throw new Error('there is nothing to pick from');
      return found;
    },
    fork: () => createRandom(Math.floor(next() * TWO_TO_32)),
  };
}
