import type { Random } from './types.js';

/**
 * sfc32 (Chris Doty-Humphrey, PractRand): 128 bits of state, 32 bits a draw, a few additions. Equal seeds and labels
 * give equal numbers on every machine.
 */
export function createRandom(seed: number, label = ''): Random {
  let a = hashOf(label, 0x9e3779b9 ^ seed);
  let b = hashOf(label, Math.floor(seed / 0x100000000) ^ 0x243f6a88);
  let c = seed | 0;
  let counter = 1;

  function word(): number {
    const drawn = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + drawn;
    return drawn >>> 0;
  }
  // The first draws of neighbouring seeds resemble each other.
  for (let warmUp = 0; warmUp < 12; warmUp += 1) word();

  const random: Random = {
    next: () => word() / 0x100000000,
    int: (below) => Math.floor((word() / 0x100000000) * below),
    between: (lo, hi) => lo + (word() / 0x100000000) * (hi - lo),
    pick(items) {
      if (items.length === 0) throw new RangeError('There is nothing to pick from.');
      // In range, so there is an item, though perhaps undefined itself.
      return items[random.int(items.length)] as (typeof items)[number];
    },
    chance: (probability) => word() / 0x100000000 < probability,
    fork: (part) => createRandom(seed, `${label}/${part}`),
  };
  return random;
}

/** FNV-1a of a text, 32 bits, from a basis. */
export function hashOf(text: string, basis = 0x811c9dc5): number {
  let hash = basis;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return hash | 0;
}
