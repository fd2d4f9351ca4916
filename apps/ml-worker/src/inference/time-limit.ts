export interface TimeLimitOptions {
  /** Milliseconds. */
  readonly limitMs: number;
  /** How many times the limit may pass by the clock while the process has not had the processor for that long; from 1. */
  readonly patience: number;
  /** Cores that the process computes on. */
  readonly threads: number;
  /** Milliseconds of the processor that the process has used; undefined when nobody knows. */
  readonly usedMs: () => number | undefined;
  /** Milliseconds of a clock that is never set. */
  readonly now: () => number;
}

/** How long a process may work on something, from the moment that this is created. */
export interface TimeLimit {
  /** Least time until the limit is reached; 0 or less when it is. */
  leftMs(): number;
  /** Whether the process has not had the processor for the time of the limit: then it is not known to be slow. */
  isStarved(): boolean;
}

/**
 * A limit by the clock, or, for a process that others go before, by what it had of the processor. n.b. that is told in hundredths of a second.
 * Where it is not told, only the clock counts.
 */
export function createTimeLimit({ limitMs, patience, threads, usedMs, now }: TimeLimitOptions): TimeLimit {
  const beganMs = now();
  const usedBeforeMs = patience > 1 ? usedMs() : undefined;
  const elapsedMs = (): number => now() - beganMs;

  function workedMs(): number {
    if (patience === 1) return elapsedMs();
    const usedNowMs = usedMs();
    return usedBeforeMs === undefined || usedNowMs === undefined ? 0 : (usedNowMs - usedBeforeMs) / threads;
  }

  return {
    leftMs: () => Math.min(limitMs - workedMs(), limitMs * patience - elapsedMs()),
    isStarved: () => workedMs() < limitMs,
  };
}
