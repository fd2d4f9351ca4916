/** Numbers that look random and follow from a seed alone. */
export interface Random {
  /** 0 ≤ x < 1. */
  uniform(): number;
  /** Above 0, with mean 1. */
  exponential(): number;
  /** With mean 0 and standard deviation 1. */
  normal(): number;
}

/** Mulberry32: 32 bits of state, which is plenty for some ten million draws of a simulation. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  let spare: number | undefined;

  function uniform(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }

  const exponential = (): number => -Math.log(1 - uniform());

  return {
    uniform,
    exponential,
    // Box and Muller: two at a time.
    normal() {
      if (spare !== undefined) {
        const kept = spare;
        spare = undefined;
        return kept;
      }
      const radius = Math.sqrt(2 * exponential());
      const angle = 2 * Math.PI * uniform();
      spare = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    },
  };
}
