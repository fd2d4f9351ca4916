/** Values of a measurement over several rounds. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Latencies of one round, in milliseconds. */
export interface Percentiles {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

/** The value below which a share `p` (0 … 1) of `sorted` (ascending, not empty) lies; nearest rank. */
export function percentile(sorted: Float64Array, p: number): number {
  const rank = Math.max(1, Math.ceil(sorted.length * p));
  const value = sorted[rank - 1];
  if (value === undefined) throw new RangeError('a percentile of no values');
  return value;
}

/** @param values in any order, not empty. */
export function percentiles(values: readonly number[]): Percentiles {
  const sorted = Float64Array.from(values).sort();
  return { p50: percentile(sorted, 0.5), p90: percentile(sorted, 0.9), p99: percentile(sorted, 0.99) };
}

/** Median and range; of an even number of values the median is the mean of the middle two. */
export function spread(values: readonly number[]): Spread {
  const sorted = Float64Array.from(values).sort();
  const lower = sorted[(sorted.length - 1) >> 1];
  const upper = sorted[sorted.length >> 1];
  if (lower === undefined || upper === undefined) throw new RangeError('the spread of no values');
  return { median: (lower + upper) / 2, min: sorted[0] ?? lower, max: sorted.at(-1) ?? upper };
}
