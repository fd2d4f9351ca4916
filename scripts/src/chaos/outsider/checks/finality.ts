import type { Evidence, JobFile } from '../evidence.js';
import { isTerminalState } from '../journal.js';
import type { Seen } from '../observations.js';
import type { Check } from '../verdict.js';
import { checkOf, jobOffence } from './check.js';

/**
 * What was said of a job's end is never taken back: not by another end, not by other numbers or another result, and a question
 * that was asked after the end was known is never answered with an open job.
 */
export function endsAreFinal(evidence: Evidence): Check {
  const seen = [...evidence.jobs.values()].filter((job) => job.seen.length > 0);
  const offences = seen.flatMap((job) => {
    const what = changeIn(job);
    return what === undefined ? [] : [jobOffence(evidence, job, what)];
  });
  return checkOf(
    'an end that was told never changes',
    {
      'jobs seen': seen.length,
      answers: seen.reduce((sum, job) => sum + job.seen.length, 0),
      'jobs seen more than once': seen.filter((job) => job.seen.length > 1).length,
    },
    offences,
  );
}

function changeIn({ seen }: JobFile): string | undefined {
  const end = seen.find(({ state }) => isTerminalState(state));
  if (!end) return undefined;
  for (const other of seen) {
    if (isTerminalState(other.state)) {
      const difference = differenceBetween(end, other);
      if (difference !== undefined) return difference;
    } else if (other.askedAtMs > end.atMs) {
      return `${end.state}, and later ${other.state}`;
    }
  }
  return undefined;
}

function differenceBetween(end: Seen, other: Seen): string | undefined {
  if (end.state !== other.state) return `${end.state}, and then ${other.state}`;
  if (end.amountNanoUsd !== other.amountNanoUsd) return `billed ${end.amountNanoUsd}, and then ${other.amountNanoUsd}`;
  if (JSON.stringify(end.usage) !== JSON.stringify(other.usage)) return 'the usage changed after the end';
  if (end.outputHash !== other.outputHash) return 'the result changed after the end';
  return end.errorCode === other.errorCode ? undefined : 'the reason changed after the end';
}
