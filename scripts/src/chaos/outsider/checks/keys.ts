import { groupBy, type Evidence, type RequestHistory } from '../evidence.js';
import type { Check, Offence } from '../verdict.js';
import { checkOf, requestOffence } from './check.js';

/** One Idempotency-Key, one job: however often, wherever and whenever it is sent again. Another body under it is refused. */
export function oneKeyOneJob(evidence: Evidence): Check {
  const keyed = [...evidence.requests.values()].filter(({ sent }) => sent[0]?.idempotencyKey !== undefined);
  const byKey = groupBy(keyed, ({ sent }) => `${sent[0]?.tenantId} ${sent[0]?.via} ${sent[0]?.idempotencyKey}`);
  const jobsOf = groupBy(evidence.books.jobs, ({ request }) => request ?? '');
  const booked = (history: RequestHistory): readonly string[] =>
    (jobsOf.get(history.request) ?? []).map(({ jobId }) => jobId);
  const offences = [...byKey.values()].flatMap((histories) => severalJobs(histories, booked));
  const conflicts = keyed.filter(({ sent }) => sent[0]?.purpose === 'conflict');
  return checkOf(
    'one Idempotency-Key has one job, and another body under it is refused',
    {
      keys: byKey.size,
      'sent more than once': keyed.filter(({ sent }) => sent.length > 1).length,
      'sent again after success': keyed.filter(({ sent }) => sent.some(({ purpose }) => purpose === 'repeat')).length,
      'other bodies': conflicts.length,
      'of those refused as such': conflicts.filter((history) => isConflict(history)).length,
    },
    [...offences, ...conflicts.flatMap(wrongConflict)],
  );
}

function severalJobs(
  histories: readonly RequestHistory[],
  booked: (history: RequestHistory) => readonly string[],
): readonly Offence[] {
  const told = histories.flatMap(({ answered }) => answered.flatMap(({ jobId }) => jobId ?? []));
  const jobs = new Set([...told, ...histories.flatMap(booked)]);
  const [first, ...others] = histories;
  if (jobs.size <= 1 || !first) return [];
  const more = others.flatMap(({ request }) => `also under this key: request ${request}`);
  return [requestOffence(first, `one key has ${jobs.size} jobs: ${[...jobs].join(', ')}`, more)];
}

function isConflict({ answered }: RequestHistory): boolean {
  return answered.some(({ status }) => status === 409 || status === 422);
}

/** A limit may refuse it first; nothing else but the conflict may be said of a body that is valid. */
function wrongConflict(history: RequestHistory): readonly Offence[] {
  const wrong = history.answered.find(
    ({ outcome, status = 503 }) => outcome === 'accepted' || status === 400 || status === 404,
  );
  return wrong ? [requestOffence(history, `another body under a used key was answered ${wrong.status}`)] : [];
}
