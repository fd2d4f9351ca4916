/** What the watch needs to see of a consumer. */
export interface WatchedConsumer {
  /** Jobs handed out and not yet settled. */
  readonly inFlight: number;
  /** When a job was last settled, by the clock of `now`. */
  readonly lastProgressAtMs: number;
}

export interface ProgressWatchOptions {
  readonly consumers: readonly WatchedConsumer[];
  readonly stallTimeoutMs: number;
  /** Milliseconds of a clock that is never set. */
  readonly now: () => number;
}

export interface ProgressWatch {
  /** True when jobs have been in hand at every look for `stallTimeoutMs` and none was finished. */
  stalled(): boolean;
}

/**
 * Tells a worker that is stuck from one that is idle. A job that comes after a long idle time finds the last progress
 * long ago, so the time counts from the first look that saw work in hand.
 */
export function createProgressWatch({ consumers, stallTimeoutMs, now }: ProgressWatchOptions): ProgressWatch {
  let busySinceMs: number | undefined;

  return {
    stalled() {
      if (consumers.every(({ inFlight }) => inFlight === 0)) {
        busySinceMs = undefined;
        return false;
      }
      busySinceMs ??= now();
      const lastMs = Math.max(busySinceMs, ...consumers.map(({ lastProgressAtMs }) => lastProgressAtMs));
      return now() - lastMs > stallTimeoutMs;
    },
  };
}
