export interface Backoff {
  /** How long to wait before the next try, in milliseconds. `livedMs` is how long the last success lasted, 0 for none. */
  next(livedMs?: number): number;
}

export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  /** 0 … 1, exclusive; `Math.random` when absent. */
  readonly random?: () => number;
}

/**
 * Doubling delays from `firstMs` to `maxMs`, each spread evenly over its upper half so that many clients do not come
 * back at one moment. What lasted at least `maxMs` counts as healthy and begins the sequence anew; what ends at once
 * does not, so a thing that opens and dies in a circle is not tried in a tight loop.
 */
export function createBackoff({ firstMs, maxMs, random = Math.random }: BackoffOptions): Backoff {
  let failures = 0;
  return {
    next(livedMs = 0) {
      if (livedMs >= maxMs) failures = 0;
      const ceilingMs = Math.min(maxMs, firstMs * 2 ** Math.min(failures, 30));
      failures += 1;
      return Math.round(ceilingMs * (0.5 + random() / 2));
    },
  };
}
