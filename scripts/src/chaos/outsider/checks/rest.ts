import { endOf, type Evidence } from '../evidence.js';
import type { Check, Drain, Offence } from '../verdict.js';
import { checkOf, jobOffence } from './check.js';

/** All came to rest in time. */
export function nothingIsStuck(evidence: Evidence, drain: Drain): Check {
  const open = [...evidence.jobs.values()].filter((job) => job.booked.length > 0 && !endOf(job));
  const offences: Offence[] = open.map((job) => jobOffence(evidence, job, 'a job is still open'));
  if (!drain.complete) offences.unshift({ what: `the drain waits for ${drain.waitedFor}`, known: [] });
  return checkOf(
    'nothing is stuck',
    { 'ms to drain': Math.round(drain.durationMs), 'open jobs': open.length },
    offences,
  );
}

/** The books agree with themselves. */
export function reconciliationIsEmpty({ books }: Evidence): Check {
  const offences = books.reconciliations
    .filter(({ rows }) => rows > 0)
    .map(({ view, rows, first }): Offence => ({
      what: `${view} has ${rows} rows`,
      known: first.map((row) => JSON.stringify(row)),
    }));
  const views = books.reconciliations.length;
  const none: Offence[] = views === 0 ? [{ what: 'there is no view of reconciliation', known: [] }] : [];
  return checkOf('every view of reconciliation is empty', { views }, [...none, ...offences]);
}

/** Whatever could not be processed is a job that we know and that has ended. */
export function deadLettersAreKnown(evidence: Evidence): Check {
  const { deadLetters } = evidence.books;
  const reasons: Record<string, number> = {};
  const offences: Offence[] = [];
  for (const letter of deadLetters) {
    reasons[letter.reason] = (reasons[letter.reason] ?? 0) + 1;
    const job = letter.jobId === null ? undefined : evidence.jobs.get(letter.jobId);
    if (!job) offences.push({ what: `a dead letter of no known job: ${JSON.stringify(letter)}`, known: [] });
    else if (!endOf(job)) offences.push(jobOffence(evidence, job, `its message died (${letter.reason}), it did not`));
  }
  return checkOf('every dead letter is of a job that has ended', { letters: deadLetters.length, ...reasons }, offences);
}
