import type { Evidence, JobFile, RequestHistory } from '../evidence.js';
import type { Check, Offence } from '../verdict.js';

const SHOWN = 10;

/** A check that is right when nothing offends. */
export function checkOf(name: string, numbers: Readonly<Record<string, number>>, offences: readonly Offence[]): Check {
  const counted = Object.entries(numbers).map(([what, count]) => `${count} ${what}`);
  return {
    name,
    right: offences.length === 0,
    detail: offences.length === 0 ? counted.join(', ') : `${offences.length} × wrong; ${offences[0]?.what ?? ''}`,
    numbers: { ...numbers, offences: offences.length },
    offences: offences.slice(0, SHOWN),
  };
}

/** An offence of a job, with all that is known about it. */
export function jobOffence(evidence: Pick<Evidence, 'requests'>, job: JobFile, what: string): Offence {
  const request = job.booked[0]?.request ?? job.accepted[0]?.request;
  const history = request === undefined || request === null ? undefined : evidence.requests.get(request);
  return {
    what,
    jobId: job.jobId,
    ...(history && { request: history.request }),
    known: [
      ...(history ? historyLines(history) : []),
      ...job.seen.map((seen) => `${at(seen.atMs)} ${seen.by} (asked ${at(seen.askedAtMs)}): ${text(seen)}`),
      ...job.canceled.map((one) => `${at(one.atMs)} cancel (asked ${at(one.askedAtMs)}): ${text(one)}`),
      ...job.booked.map((row) => `jobs: ${text(row)}`),
      ...job.entries.map((entry) => `${at(entry.recordedAtMs)} ledger: ${text(entry)}`),
    ],
  };
}

/** An offence of a request. */
export function requestOffence(history: RequestHistory, what: string, more: readonly string[] = []): Offence {
  return { what, request: history.request, known: [...historyLines(history), ...more] };
}

function historyLines({ sent, answered }: RequestHistory): readonly string[] {
  return [...sent, ...answered]
    .sort((a, b) => a.atMs - b.atMs)
    .map((event) => `${at(event.atMs)} ${event.kind}: ${text(event)}`);
}

function at(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

function text(value: object): string {
  return JSON.stringify(value, (_name, field: unknown) => (typeof field === 'bigint' ? field.toString() : field));
}
