import type { Counts, SeedOutcome } from './seed-outcome.js';

/** What many runs came to. */
export interface Totals {
  runs: number;
  jobs: number;
  events: number;
  crashPoints: number;
  /** Virtual time of all runs, and of the longest, in milliseconds. */
  virtualMs: number;
  longestVirtualMs: number;
  readonly crashes: Record<string, number>;
  readonly faults: Record<string, number>;
  readonly answers: Record<string, number>;
  readonly checks: Record<string, number>;
}

export function emptyTotals(): Totals {
  const counts = { runs: 0, jobs: 0, events: 0, crashPoints: 0, virtualMs: 0, longestVirtualMs: 0 };
  return { ...counts, crashes: {}, faults: {}, answers: {}, checks: {} };
}

/** Adds one run. */
export function addOutcome(totals: Totals, outcome: SeedOutcome): void {
  totals.runs += 1;
  totals.jobs += outcome.jobs;
  totals.events += outcome.events;
  totals.crashPoints += outcome.crashPoints;
  totals.virtualMs += outcome.virtualMs;
  totals.longestVirtualMs = Math.max(totals.longestVirtualMs, outcome.virtualMs);
  addCounts(totals.crashes, outcome.crashes);
  addCounts(totals.faults, outcome.faults);
  addCounts(totals.answers, outcome.answers ?? {});
  addCounts(totals.checks, outcome.checks);
}

function addCounts(sums: Record<string, number>, counts: Counts): void {
  for (const [kind, count] of Object.entries(counts)) sums[kind] = (sums[kind] ?? 0) + count;
}
