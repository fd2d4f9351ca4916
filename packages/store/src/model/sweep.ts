import type { ExpiredHold } from '../holds.js';
import type { Steps } from './steps.js';
import { compareText, type JobEntry, type Tables } from './tables.js';

/** `hold_grace()`: how long after its deadline an open job is left alone, milliseconds. */
export const HOLD_GRACE_MS = 120_000;
/** PostgreSQL counts microseconds. */
const MICROSECOND = 0.001;
/** As `Holds` has it: jobs looked at in one statement, and most statements in one call. */
const SWEEP_BATCH = 20_000;
const MAX_SWEEP_BATCHES = 100;

/** How far ahead of PostgreSQL's clock the one that deadlines are told by may be. */
const MAX_AHEAD_MS = 600_000;

/** `Holds.expiredOpenHolds`: at least two statements. `deadlinesMs` is now by the clock that deadlines are told by. */
export function* expiredOpenHolds(tables: Tables, limit: number, deadlinesMs?: number): Steps<readonly ExpiredHold[]> {
  for (let batch = 0; batch < MAX_SWEEP_BATCHES; batch++) {
    if (advanceSweep(tables, yield, SWEEP_BATCH) < SWEEP_BATCH) break;
  }
  return expiredJobs(tables, { nowMs: yield, deadlinesMs, limit });
}

/** `advance-sweep.sql`: how many jobs it looked at, about `count` at most. */
export function advanceSweep(tables: Tables, nowMs: number, count: number): number {
  const { overdue, ends } = tables;
  const graceMs = nowMs - HOLD_GRACE_MS;
  const passed = firstWithTies(
    [...tables.jobs.values()].filter((job) => job.expiresAtMs >= tables.sweptUntilMs && job.expiresAtMs < graceMs),
    count,
  );
  for (const jobId of overdue.keys()) if (ends.has(jobId)) overdue.delete(jobId);
  for (const job of passed) if (!ends.has(job.jobId)) overdue.set(job.jobId, job);
  const lastMs = passed.at(-1)?.expiresAtMs ?? graceMs;
  const markMs = passed.length < count ? graceMs : lastMs + MICROSECOND;
  tables.sweptUntilMs = Math.max(tables.sweptUntilMs, markMs);
  return passed.length;
}

/** The `count` earliest, and those that have the deadline of the last of them. */
function firstWithTies(jobs: JobEntry[], count: number): readonly JobEntry[] {
  const sorted = jobs.sort((a, b) => a.expiresAtMs - b.expiresAtMs);
  const lastMs = sorted[count - 1]?.expiresAtMs ?? Infinity;
  return sorted.filter((job) => job.expiresAtMs <= lastMs);
}

interface ExpiredQuery {
  /** PostgreSQL's clock. */
  readonly nowMs: number;
  readonly deadlinesMs: number | undefined;
  readonly limit: number;
}

/** `expired-open-holds.sql`. */
export function expiredJobs(tables: Tables, { nowMs, deadlinesMs = nowMs, limit }: ExpiredQuery): ExpiredHold[] {
  const isPast = (job: JobEntry, clockMs: number): boolean => job.expiresAtMs < clockMs - HOLD_GRACE_MS;
  const isCandidate = (job: JobEntry): boolean =>
    (tables.overdue.has(job.jobId) && isPast(job, deadlinesMs)) ||
    (job.expiresAtMs >= tables.sweptUntilMs && isPast(job, Math.min(deadlinesMs, nowMs + MAX_AHEAD_MS)));
  return [...tables.jobs.values()]
    .filter((job) => !tables.ends.has(job.jobId) && isCandidate(job))
    .sort((a, b) => a.expiresAtMs - b.expiresAtMs || compareText(a.jobId, b.jobId))
    .slice(0, limit)
    .map(({ jobId, tenantId, apiKeyId, model, class: jobClass }) => {
      return { jobId, tenantId, apiKeyId, model, class: jobClass };
    });
}
