import { finalOf, type Evidence, type JobFile } from '../evidence.js';
import type { Check } from '../verdict.js';
import { checkOf, jobOffence, requestOffence } from './check.js';

/** A job that was said to be canceled is, one that was said to have ended otherwise is not, and no other job is canceled. */
export function cancellationsHold(evidence: Evidence): Check {
  const asked = [...evidence.jobs.values()].filter(({ canceled }) => canceled.length > 0);
  const ended = [...evidence.jobs.values()].filter((job) => finalOf(job)?.state === 'canceled');
  const offences = [...new Set([...asked, ...ended])].flatMap((job) => {
    const what = wrongCancellation(job);
    return what === undefined ? [] : [jobOffence(evidence, job, what)];
  });
  const answered = (status: number): number =>
    asked.filter(({ canceled }) => canceled.some((one) => one.status === status)).length;
  return checkOf(
    'what was canceled stays canceled, and nothing else is',
    {
      'jobs asked to cancel': asked.length,
      'answered 200': answered(200),
      'answered 202': answered(202),
      'answered 409': answered(409),
      'jobs canceled': ended.length,
    },
    offences,
  );
}

function wrongCancellation(job: JobFile): string | undefined {
  const state = finalOf(job)?.state ?? 'not known';
  const was = (status: number): boolean => job.canceled.some((one) => one.status === status);
  if (was(200) && state !== 'canceled') return `its cancellation was answered 200, it is ${state}`;
  if (was(409) && state === 'canceled') return 'its cancellation was answered 409, it is canceled';
  return state === 'canceled' && job.canceled.length === 0 ? 'nobody canceled it, it is canceled' : undefined;
}

/** Between batches of other neighbours and shapes, float32 sums differ by less. */
const TOLERANCE = 1e-5;

/** A job that succeeded has a result, the same for the same input; a job that failed says why. */
export function resultsAreRight(evidence: Evidence): Check {
  const jobs = [...evidence.jobs.values()].filter((job) => finalOf(job));
  const offences = jobs.flatMap((job) => {
    const what = wrongResult(job);
    return what === undefined ? [] : [jobOffence(evidence, job, what)];
  });
  const distances = jobs.flatMap(({ seen }) => seen.flatMap(({ distance }) => distance ?? []));
  const states: Record<string, number> = {};
  for (const job of jobs) {
    const { state, errorCode } = finalOf(job) ?? { state: 'not known' };
    const what = errorCode === undefined ? state : `${state} (${errorCode})`;
    states[what] = (states[what] ?? 0) + 1;
  }
  return checkOf(
    'equal inputs have equal results, and failures a reason',
    {
      ...states,
      'results compared': distances.length,
      'largest difference in millionths': Math.ceil(maxOf(distances) * 1e6),
    },
    offences,
  );
}

function wrongResult(job: JobFile): string | undefined {
  const final = finalOf(job);
  const far = job.seen.find(({ distance = 0 }) => distance > TOLERANCE);
  if (far) return `its result is ${far.distance} away from that of an equal input`;
  if (final?.state === 'succeeded') return final.outputHash === undefined ? 'it succeeded without a result' : undefined;
  if (final?.outputHash !== undefined) return `it is ${final.state} and has a result`;
  return final?.state === 'failed' && final.errorCode === undefined ? 'it failed without a reason' : undefined;
}

/** n.b. spread into Math.max, a long list would not fit on the stack. */
function maxOf(list: readonly number[]): number {
  return list.reduce((most, one) => Math.max(most, one), 0);
}

/** Whatever is killed, a client is told what to do next: nothing was answered as a defect. */
export function noInternalErrors(evidence: Evidence): Check {
  const histories = [...evidence.requests.values()];
  const answers = histories.flatMap(({ answered }) => answered);
  const offences = histories
    .filter(({ answered }) => answered.some(({ status, code }) => status === 500 || code === 'internal'))
    .map((history) => requestOffence(history, 'answered as a defect of the suite'));
  return checkOf(
    'no submission was answered as a defect',
    {
      answers: answers.length,
      'without an answer': answers.filter(({ status }) => status === undefined).length,
      unavailable: answers.filter(({ status }) => status === 503).length,
    },
    offences,
  );
}
