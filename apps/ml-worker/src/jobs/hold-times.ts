import type { JobClass } from '@sluice/contracts';

/** Work in hand should last for so many runs of the target latency: with four, lengths are found that fit together. */
const RUNS_IN_HAND = 4;

/** For how long the jobs of a class in hand should last, by the models that they are for. */
export interface HoldTimes {
  /** A job of a class came, for a model whose runs may take this long, in milliseconds. */
  came(jobClass: JobClass, targetLatencyMs: number): void;
  /**
   * The mean over the jobs of a class that came since it was last asked, in milliseconds; undefined when none did. Times the
   * rate of jobs it is the sum over the models of what each needs.
   */
  take(jobClass: JobClass): number | undefined;
}

export function createHoldTimes(): HoldTimes {
  const tallies = new Map<JobClass, { jobs: number; latencyMs: number }>();
  return {
    came(jobClass, targetLatencyMs) {
      let tally = tallies.get(jobClass);
      if (!tally) tallies.set(jobClass, (tally = { jobs: 0, latencyMs: 0 }));
      tally.jobs += 1;
      tally.latencyMs += targetLatencyMs;
    },
    take(jobClass) {
      const tally = tallies.get(jobClass);
      tallies.delete(jobClass);
      return tally && (RUNS_IN_HAND * tally.latencyMs) / tally.jobs;
    },
  };
}
