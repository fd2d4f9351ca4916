import type { BookedJob, Books, Entry } from './books.js';
import type { Answered, Canceled, Observations, QuotaSample, Seen, Sent } from './observations.js';

/** All attempts of one request. */
export interface RequestHistory {
  readonly request: string;
  readonly sent: readonly Sent[];
  readonly answered: readonly Answered[];
}

/** What clients and books say of one job. */
export interface JobFile {
  readonly jobId: string;
  /** Answers that named it to whoever submitted. */
  readonly accepted: readonly Answered[];
  /** In the order in which the answers came; the last one is what it is after all has come to rest. */
  readonly seen: readonly Seen[];
  readonly canceled: readonly Canceled[];
  readonly booked: readonly BookedJob[];
  readonly entries: readonly Entry[];
}

/** Everything that a verdict is made of, sorted by what it is about. */
export interface Evidence {
  readonly books: Books;
  readonly requests: ReadonlyMap<string, RequestHistory>;
  readonly jobs: ReadonlyMap<string, JobFile>;
  /** Limits of each key as they were shown during the run. */
  readonly samples: readonly QuotaSample[];
  /** The same after all has come to rest, one of each key. */
  readonly finalLimits: readonly QuotaSample[];
}

export interface EvidenceParts {
  readonly observations: Observations;
  readonly books: Books;
  readonly finalSeen: readonly Seen[];
  readonly finalLimits: readonly QuotaSample[];
}

/** Sorts what was seen and what is booked. */
export function gatherEvidence({ observations, books, finalSeen, finalLimits }: EvidenceParts): Evidence {
  const sent = groupBy(ofKind(observations, 'sent'), ({ request }) => request);
  const answered = groupBy(ofKind(observations, 'answered'), ({ request }) => request);
  return {
    books,
    requests: new Map(
      [...sent].map(([request, list]) => [request, { request, sent: list, answered: answered.get(request) ?? [] }]),
    ),
    jobs: jobFiles(observations, books, finalSeen),
    samples: ofKind(observations, 'quota'),
    finalLimits,
  };
}

function jobFiles(observations: Observations, books: Books, finalSeen: readonly Seen[]): ReadonlyMap<string, JobFile> {
  const byJob = ({ jobId = '' }: { readonly jobId?: string }): string => jobId;
  const accepted = groupBy(
    ofKind(observations, 'answered').filter(({ jobId }) => jobId !== undefined),
    byJob,
  );
  const seen = groupBy([...ofKind(observations, 'seen'), ...finalSeen], byJob);
  const canceled = groupBy(ofKind(observations, 'canceled'), byJob);
  const booked = groupBy(books.jobs, byJob);
  const entries = groupBy(books.entries, byJob);
  const ids = new Set([accepted, seen, booked, entries].flatMap((map) => [...map.keys()]));
  const files = [...ids].map((jobId): [string, JobFile] => [
    jobId,
    {
      jobId,
      accepted: accepted.get(jobId) ?? [],
      seen: seen.get(jobId) ?? [],
      canceled: canceled.get(jobId) ?? [],
      booked: booked.get(jobId) ?? [],
      entries: entries.get(jobId) ?? [],
    },
  ]);
  return new Map(files);
}

function ofKind<Kind extends Observations['events'][number]['kind']>({ events }: Observations, kind: Kind) {
  return events.filter((event): event is Extract<typeof event, { kind: Kind }> => event.kind === kind);
}

/** Lists by what `keyOf` says of their elements, in their order. */
export function groupBy<T>(list: readonly T[], keyOf: (one: T) => string): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const one of list) {
    const key = keyOf(one);
    const group = groups.get(key);
    if (group) group.push(one);
    else groups.set(key, [one]);
  }
  return groups;
}

/** The terminal entry of a job; the first, where there are several. */
export function endOf({ entries }: Pick<JobFile, 'entries'>): Entry | undefined {
  return entries.find(({ phase }) => phase === 2);
}

/** How the job answers after all has come to rest; undefined when it was not asked for. */
export function finalOf({ seen }: Pick<JobFile, 'seen'>): Seen | undefined {
  return seen.findLast(({ by }) => by === 'final');
}
