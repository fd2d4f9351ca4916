import type { BookedJob, Entry } from '../books.js';
import type { Evidence } from '../evidence.js';
import type { Check, Offence } from '../verdict.js';
import { checkOf } from './check.js';
import { appliedLimits, countsOn, overageOf, sumOf, usedBy, type AppliedLimit } from './scopes.js';

const MINUTE_MS = 60_000;
/**
 * A job's id is minted a moment before Redis takes its share, and a gateway waits two seconds for Redis; so times are known to
 * within this.
 */
const SLACK_MS = 5_000;

/**
 * In no window of any length more was let through than a full bucket and what it refills in that time. A bucket is filled and
 * emptied with the jobs of the records: what it lacks is the largest excess of any window that ends there.
 */
export function ratesWereKept(evidence: Evidence): Check {
  const rates = appliedLimits(evidence).filter(({ limit }) => limit.kind === 'rate' && !limit.soft);
  const buckets = rates.map((applied) => ({ applied, ...fill(evidence, applied) }));
  const offences = buckets
    .filter(({ most, allowed }) => most > allowed)
    .map(({ applied, most, allowed, atMs }): Offence => ({
      what: `${applied.label}: ${Math.ceil(most)} at ${new Date(atMs).toISOString()}, at most ${Math.floor(allowed)}`,
      known: [],
    }));
  return checkOf(
    'no rate was passed in a window of any length',
    {
      rates: rates.length,
      jobs: buckets.reduce((sum, { jobs }) => sum + jobs, 0),
      'largest in % of what is allowed': Math.round(
        Math.max(0, ...buckets.map(({ most, allowed }) => (most / allowed) * 100)),
      ),
    },
    offences,
  );
}

function fill({ books }: Evidence, applied: AppliedLimit) {
  const { max, unit } = applied.limit;
  const perMs = max / MINUTE_MS;
  const jobs = books.jobs.filter((job) => countsOn(applied, job)).sort((a, b) => a.atMs - b.atMs);
  const ends = books.entries.filter((entry) => entry.phase === 2 && countsOn(applied, entry));
  let lack = 0;
  let beforeMs = 0;
  let [most, mostAtMs] = [0, 0];
  for (const job of jobs) {
    lack = Math.max(0, lack - (job.atMs - beforeMs) * perMs) + (unit === 'tokens' ? job.reservedTokens : 1);
    beforeMs = job.atMs;
    if (lack > most) [most, mostAtMs] = [lack, job.atMs];
  }
  const extra = sumOf(ends, (end) => overageOf(end, unit) + unusedOf(end, unit));
  return { jobs: jobs.length, most, atMs: mostAtMs, allowed: max + SLACK_MS * perMs + extra };
}

/** What came back to the bucket: it made room for others, whenever that was. */
function unusedOf(end: Entry, unit: 'requests' | 'tokens' | 'nanoUsd'): number {
  return unit === 'tokens' ? Math.max(0, end.reservedTokens - usedBy(end, unit)) : 0;
}

/**
 * Per the records alone, never more was open than may be. A job is open from when it was surely taken until its end was
 * recorded, which is before Redis gives anything back.
 */
export function flightsWereKept(evidence: Evidence): Check {
  const limits = appliedLimits(evidence).filter(({ limit }) => limit.kind === 'inFlight' && !limit.soft);
  const flights = limits.map((applied) => ({ applied, ...fly(evidence, applied) }));
  const offences = flights
    .filter(({ applied, most }) => most > applied.limit.max)
    .map(({ applied, most, atMs }): Offence => ({
      what: `${applied.label}: ${most} at ${new Date(atMs).toISOString()}, at most ${applied.limit.max}`,
      known: [],
    }));
  return checkOf(
    'never more was in flight than may be',
    {
      limits: limits.length,
      'jobs open for more than 5 s': flights.reduce((sum, { jobs }) => sum + jobs, 0),
      'largest in %': Math.round(Math.max(0, ...flights.map(({ applied, most }) => (most / applied.limit.max) * 100))),
    },
    offences,
  );
}

function fly({ books }: Evidence, applied: AppliedLimit) {
  const ends = new Map(books.entries.filter(({ phase }) => phase === 2).map((end) => [end.jobId, end.recordedAtMs]));
  const weight = (job: BookedJob): number => (applied.limit.unit === 'tokens' ? job.reservedTokens : 1);
  const open = books.jobs.flatMap((job) => {
    const [fromMs, toMs] = [job.atMs + SLACK_MS, ends.get(job.jobId) ?? Infinity];
    return countsOn(applied, job) && fromMs < toMs ? [{ fromMs, toMs, weight: weight(job) }] : [];
  });
  const steps = open
    .flatMap(({ fromMs, toMs, weight: by }) => [
      { atMs: fromMs, by },
      { atMs: toMs, by: -by },
    ])
    // n.b. at the same moment what ends goes first.
    .sort((a, b) => a.atMs - b.atMs || a.by - b.by);
  let now = 0;
  let [most, mostAtMs] = [0, 0];
  for (const { atMs, by } of steps) {
    now += by;
    if (now > most) [most, mostAtMs] = [now, atMs];
  }
  return { jobs: open.length, most, atMs: mostAtMs };
}
