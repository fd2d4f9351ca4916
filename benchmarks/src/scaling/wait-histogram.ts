/** Waits counted in classes that grow by a twelfth of a factor of two: a quantile is exact to 3 %. */
export interface WaitHistogram {
  /** @param seconds not below 0. */
  add(seconds: number): void;
  readonly count: number;
  readonly mean: number;
  /** @param p 0 … 1. @returns seconds; 0 when nothing was added. */
  quantile(p: number): number;
  /** Share of the waits that were at most as long; 1 when nothing was added. */
  shareWithin(seconds: number): number;
}

const PER_OCTAVE = 12;
/** Shorter waits count as this. */
const SHORTEST = 0.000_1;
/** Up to some 19 days. */
const CLASSES = 34 * PER_OCTAVE;
const SCALE = PER_OCTAVE / Math.LN2;

export function createWaitHistogram(): WaitHistogram {
  const counts = new Float64Array(CLASSES);
  let count = 0;
  let total = 0;

  function classOf(seconds: number): number {
    return seconds <= SHORTEST ? 0 : Math.min(CLASSES - 1, Math.ceil(Math.log(seconds / SHORTEST) * SCALE));
  }

  return {
    add(seconds) {
      const at = classOf(seconds);
      counts[at] = (counts[at] ?? 0) + 1;
      count += 1;
      total += seconds;
    },
    get count() {
      return count;
    },
    get mean() {
      return count === 0 ? 0 : total / count;
    },
    quantile(p) {
      if (count === 0) return 0;
      const rank = Math.max(1, Math.ceil(count * p));
      let seen = 0;
      const at = counts.findIndex((here) => (seen += here) >= rank);
      return at === 0 ? 0 : SHORTEST * Math.exp((at - 0.5) / SCALE);
    },
    shareWithin(seconds) {
      if (count === 0) return 1;
      return counts.subarray(0, classOf(seconds) + 1).reduce((sum, here) => sum + here, 0) / count;
    },
  };
}
