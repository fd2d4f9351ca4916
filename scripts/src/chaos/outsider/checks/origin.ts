import type { Evidence, JobFile, RequestHistory } from '../evidence.js';
import { groupBy } from '../evidence.js';
import type { Check, Offence } from '../verdict.js';
import { checkOf, jobOffence, requestOffence } from './check.js';

/**
 * No bill without a request that was accepted or whose answer is not known. A request that was refused for certain, was invalid,
 * or contradicted its key made no job; one with an unknown answer made one at most, and one that was accepted made that very one.
 */
export function everyJobWasAskedFor(evidence: Evidence): Check {
  const jobs = [...evidence.jobs.values()].filter(({ booked }) => booked.length > 0);
  const strange = jobs.flatMap((job) => {
    const what = strangeAbout(job, evidence);
    return what === undefined ? [] : [jobOffence(evidence, job, what)];
  });
  const histories = [...evidence.requests.values()];
  const unanswered = histories.filter((history) => !isAccepted(history) && mayHaveMade(history));
  const made = new Set(jobs.map(requestOf));
  return checkOf(
    'no job without a request that was accepted or whose answer is unknown',
    {
      requests: histories.length,
      'accepted requests': histories.filter(isAccepted).length,
      'requests with an unknown answer': unanswered.length,
      'of which a job was made': unanswered.filter(({ request }) => made.has(request)).length,
      'jobs recorded': jobs.length,
    },
    [...strange, ...twice(jobs, evidence)],
  );
}

/** Refusals are promises: what was only ever refused made no job. */
export function refusalsMadeNoJob(evidence: Evidence): Check {
  const made = groupBy(
    [...evidence.jobs.values()].filter(({ booked }) => booked.length > 0),
    requestOf,
  );
  const refused = [...evidence.requests.values()].filter((history) => !mayHaveMade(history));
  const offences = refused.flatMap(({ request }) =>
    (made.get(request) ?? []).map((job) => jobOffence(evidence, job, 'a refused request made a job')),
  );
  const invalid = [...evidence.requests.values()].filter(({ sent }) => sent[0]?.purpose === 'invalid');
  const takenUp = invalid
    .filter(isAccepted)
    .map((history) => requestOffence(history, 'an invalid request was accepted'));
  const limited = refused.filter(({ answered }) => answered.some(({ status }) => status === 429));
  return checkOf(
    'what was refused made no job, and what is invalid is refused',
    {
      'refused requests': refused.length,
      'of those by a limit': limited.length,
      'invalid requests': invalid.length,
    },
    [...offences, ...takenUp],
  );
}

function strangeAbout(job: JobFile, { requests }: Evidence): string | undefined {
  const [booked] = job.booked;
  const history = requests.get(booked?.request ?? '');
  if (!booked || !history) return 'a job of a request that was never sent';
  const sent = history.sent[0];
  if (sent?.tenantId !== booked.tenantId) return "another tenant's job";
  if (sent.via === 'http' && sent.apiKeyId !== booked.apiKeyId) return "another API key's job";
  if (sent.model !== booked.model) return 'a job of another model than was asked for';
  if (!mayHaveMade(history)) return 'a job of a request that was only refused';
  const told = history.answered.flatMap(({ jobId }) => jobId ?? []);
  return told.length > 0 && !told.includes(job.jobId) ? `its client was told of job ${told[0]}` : undefined;
}

function twice(jobs: readonly JobFile[], evidence: Evidence): readonly Offence[] {
  return [...groupBy(jobs, requestOf).values()]
    .filter((list) => list.length > 1)
    .flatMap(([first]) => (first ? [jobOffence(evidence, first, 'one request made several jobs')] : []));
}

function requestOf({ booked }: JobFile): string {
  return booked[0]?.request ?? '';
}

function isAccepted({ answered }: RequestHistory): boolean {
  return answered.some(({ outcome }) => outcome === 'accepted');
}

/** An attempt without an answer may have made a job. */
function mayHaveMade({ sent, answered }: RequestHistory): boolean {
  return answered.length < sent.length || answered.some(({ outcome }) => outcome !== 'refused');
}
