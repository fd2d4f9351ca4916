import { isTerminal, type ErrorCode } from '@sluice/contracts';
import type { JobView } from '@sluice/api-gateway/composition';
import type { SimRequest } from '../scenario/requests.js';
import type { Checker } from './invariant.js';

type Body = SimRequest['body'];

/** What the clients were told, by request. */
export interface Asked {
  readonly request: SimRequest;
  /** Jobs that answers named. */
  readonly accepted: Set<string>;
  attempts: number;
  /** Attempts that may have made a job, for all that their client knows. */
  unknown: number;
}

export interface Answers {
  asked(request: SimRequest, body: Body): void;
  accepted(request: SimRequest, body: Body, job: JobView): void;
  refused(request: SimRequest, body: Body, code: ErrorCode): void;
  leftUnknown(request: SimRequest, body: Body): void;
  /** A job was shown to somebody who asked at this moment of virtual time, in milliseconds. */
  saw(job: JobView, askedAtMs: number): void;
  /** A refusal to cancel said how the job has ended. */
  sawState(jobId: string, state: string): void;
  /** By request and input, so that a misuse of a key is a request of its own. */
  readonly byInput: ReadonlyMap<string, Asked>;
  /** How many submissions were answered in which way. */
  readonly kinds: Readonly<Record<string, number>>;
  /** Jobs that were accepted for certain. */
  readonly jobs: ReadonlySet<string>;
  /** Terminal states that somebody was shown. */
  readonly ends: ReadonlyMap<string, SeenEnd>;
}

/** A terminal state that somebody was shown. */
interface SeenEnd {
  readonly state: string;
  /** What the job cost, as it was shown. */
  readonly bill: string | undefined;
  /** When it was first shown. */
  readonly atMs: number;
}

/** A request that was answered so may have made a job. */
const MAYBE: ReadonlySet<ErrorCode> = new Set(['publish_unconfirmed', 'internal']);

/** How a request and its input are known; the text begins with the request's name. */
export function inputName(request: SimRequest, body: Body): string {
  return `${request.tag}: ${String(body['input'])}`;
}

/** Notes the answers, and checks at once what must hold of them. */
export function createAnswers({ check }: Checker, nowMs: () => number): Answers {
  const byInput = new Map<string, Asked>();
  const byKey = new Map<string, { readonly jobId: string; readonly input: string }>();
  const jobs = new Set<string>();
  const ends = new Map<string, SeenEnd>();

  const kinds: Record<string, number> = {};

  function tally(kind: string): void {
    kinds[kind] = (kinds[kind] ?? 0) + 1;
  }

  function of(request: SimRequest, body: Body): Asked {
    const name = inputName(request, body);
    let asked = byInput.get(name);
    if (!asked) byInput.set(name, (asked = { request, accepted: new Set(), attempts: 0, unknown: 0 }));
    return asked;
  }

  function bind(request: SimRequest, body: Body, jobId: string): void {
    if (request.key === undefined) return;
    const key = `${request.tenant.tenantId} ${request.key}`;
    const input = inputName(request, body);
    const bound = byKey.get(key) ?? { jobId, input };
    byKey.set(key, bound);
    check('key-is-bound-to-its-body', bound.input === input, () => `${key}: ${bound.input}, then ${input}`);
    check('one-job-per-key', bound.jobId === jobId, () => `${key}: ${bound.jobId}, then ${jobId}`);
  }

  function sawState(jobId: string, state: string, bill?: string): void {
    const before = ends.get(jobId);
    if (before) {
      check('end-never-changes', before.state === state, () => `${jobId} was ${before.state}, is ${state}`);
    }
    ends.set(jobId, { state, bill: before?.bill ?? bill, atMs: before?.atMs ?? nowMs() });
  }

  return {
    ...{ byInput, jobs, ends, kinds },
    asked: (request, body) => void (of(request, body).attempts += 1),
    accepted(request, body, job) {
      tally('accepted');
      const { accepted } = of(request, body);
      const isNew = !jobs.has(job.id);
      accepted.add(job.id);
      jobs.add(job.id);
      check(
        'one-job-per-key',
        isNew || request.key !== undefined,
        () => `${job.id} answers two requests without a key`,
      );
      bind(request, body, job.id);
    },
    refused(request, body, code) {
      tally(code);
      if (MAYBE.has(code)) of(request, body).unknown += 1;
    },
    leftUnknown(request, body) {
      tally('lost');
      of(request, body).unknown += 1;
    },
    saw(job, askedAtMs) {
      if (isTerminal(job.state)) return sawState(job.id, job.state, job.amountNanoUsd);
      const end = ends.get(job.id);
      const reopened = end !== undefined && end.atMs < askedAtMs;
      check('end-never-changes', !reopened, () => `${job.id} was ${end?.state}, is ${job.state} again`);
    },
    sawState: (jobId, state) => sawState(jobId, state),
  };
}
