import { endOf, finalOf, type Evidence, type JobFile } from '../evidence.js';
import { isTerminalState } from '../journal.js';
import type { Check } from '../verdict.js';
import { checkOf, jobOffence } from './check.js';

/** Every 202 and every accepted reply is a job that exists, has ended, and ended as the ledger says. */
export function everyAcceptedJobHasEnded(evidence: Evidence): Check {
  const accepted = [...evidence.jobs.values()].filter((job) => job.accepted.length > 0);
  const offences = accepted.flatMap((job) => {
    const what = wrongWithAccepted(job);
    return what === undefined ? [] : [jobOffence(evidence, job, what)];
  });
  const answers = accepted.reduce((sum, job) => sum + job.accepted.length, 0);
  return checkOf(
    'every accepted job has exactly one end, the same by HTTP and in the ledger',
    {
      'accepting answers': answers,
      'accepted jobs': accepted.length,
    },
    offences,
  );
}

function wrongWithAccepted(job: JobFile): string | undefined {
  const final = finalOf(job);
  const end = endOf(job);
  if (job.booked.length === 0) return 'an accepted job is not recorded';
  if (!end) return 'an accepted job has no end in the ledger';
  if (!final) return 'an accepted job was not answered after the drain';
  if (!isTerminalState(final.state)) return `an accepted job is ${final.state} after the drain`;
  return final.state === end.state ? undefined : `HTTP says ${final.state}, the ledger ${end.state}`;
}

/** Whoever accepted it: each job of the ledger has one reserve, one end and one record. */
export function everyJobIsWhole(evidence: Evidence): Check {
  const jobs = [...evidence.jobs.values()].filter(({ booked, entries }) => booked.length + entries.length > 0);
  const offences = jobs.flatMap((job) => {
    const what = wrongWithEntries(job);
    return what === undefined ? [] : [jobOffence(evidence, job, what)];
  });
  const count = (phase: number): number => evidence.books.entries.filter((entry) => entry.phase === phase).length;
  return checkOf(
    'every job has exactly one reserve and one terminal entry',
    {
      jobs: jobs.length,
      'reserve entries': count(1),
      'terminal entries': count(2),
    },
    offences,
  );
}

function wrongWithEntries({ booked, entries }: JobFile): string | undefined {
  const count = (phase: number): number => entries.filter((entry) => entry.phase === phase).length;
  if (booked.length !== 1) return `a job is recorded ${booked.length} times`;
  if (count(1) !== 1) return `a job has ${count(1)} reserve entries`;
  if (count(2) !== 1) return `a job has ${count(2)} terminal entries`;
  return entries.length === 2 ? undefined : `a job has ${entries.length} entries`;
}
