import type { Learned } from '../quota.js';

/** What the jobs of a tenant on a model produced; never changed, only replaced. */
export interface Histogram {
  readonly samples: number;
  /** Of the next sample. */
  readonly weight: number;
  /** Weight of the outputs up to 2^(index / 4) tokens. */
  readonly buckets: readonly number[];
}

const BUCKETS = 109;
const GROWTH = 1.002;
const HEAVY = 1e9;
const EMPTY: Histogram = { samples: 0, weight: 1, buckets: new Array<number>(BUCKETS).fill(0) };
/** The smallest whole number of tokens that each bucket has room for. */
const ENDS = EMPTY.buckets.map((_, i) => Math.floor(2 ** (i / 4) + 1e-6));

/** The histogram with one more output. */
export function withSample({ samples, weight, buckets }: Histogram = EMPTY, outputTokens: number): Histogram {
  // n.b. the logarithm of a power of two may come out a little too large.
  const at = outputTokens <= 1 ? 0 : Math.min(BUCKETS - 1, Math.ceil(4 * Math.log2(outputTokens) - 1e-9));
  const grown = buckets.map((inIt, i) => (i === at ? inIt + weight : inIt));
  const next = weight * GROWTH;
  if (next <= HEAVY) return { samples: samples + 1, weight: next, buckets: grown };
  return { samples: samples + 1, weight: next / HEAVY, buckets: grown.map((inIt) => inIt / HEAVY) };
}

/** The end of the first bucket below which `quantile` of the weight lies. */
export function readQuantile({ samples, buckets }: Histogram, quantile: number): Learned {
  const total = buckets.reduce((sum, inIt) => sum + inIt, 0);
  let below = 0;
  const at = buckets.findIndex((inIt) => (below += inIt) >= quantile * total);
  return { outputTokens: ENDS[at] ?? ENDS[BUCKETS - 1] ?? 0, samples };
}
