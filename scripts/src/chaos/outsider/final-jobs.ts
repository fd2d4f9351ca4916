import { call } from '../../client.js';
import type { JobAnswer } from './attempt.js';
import type { Books } from './books.js';
import type { Observations, Seen } from './observations.js';
import { createOutputs, type Outputs } from './outputs.js';
import type { Account } from './tenants.js';

export interface FinalJobsOptions {
  readonly observations: Observations;
  readonly books: Pick<Books, 'jobs'>;
  readonly clients: readonly Account[];
  readonly urls: () => readonly string[];
}

const LANES = 24;
const TRIES = 5;
const TIMEOUT_MS = 15_000;

/** Asks for every job that a client was told of or that is recorded, once more and for the last time. */
export async function readFinalJobs(options: FinalJobsOptions): Promise<readonly Seen[]> {
  const whose = jobsOf(options);
  const hashes = inputsOf(options);
  const outputs = createOutputs();
  const waiting = [...whose];
  const found: Seen[] = [];
  async function lane(number: number): Promise<void> {
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const [jobId, account] = next;
      const urls = options.urls();
      const url = urls[number % urls.length] ?? '';
      found.push(await readJob({ url, jobId, account, outputs, inputHash: hashes.get(jobId) ?? jobId }));
    }
  }
  await Promise.all(Array.from({ length: LANES }, (_, number) => lane(number)));
  return found;
}

interface Question {
  readonly url: string;
  readonly jobId: string;
  readonly account: Account;
  readonly outputs: Outputs;
  readonly inputHash: string;
}

async function readJob({ url, jobId, account, outputs, inputHash }: Question): Promise<Seen> {
  const about = { kind: 'seen', jobId, tenantId: account.tenantId, by: 'final', askedAtMs: Date.now() } as const;
  for (let tries = 1; ; tries++) {
    try {
      const { status, body } = await call<JobAnswer>(url, `/v1/jobs/${jobId}`, {
        key: account.key,
        timeoutMs: TIMEOUT_MS,
      });
      if (status !== 200 && status !== 404) throw new Error(`GET of job ${jobId} answered ${status}`);
      const { state = 'missing', usage, amountNanoUsd, output, error } = status === 404 ? {} : body;
      return {
        ...{ ...about, atMs: Date.now(), state },
        ...(usage && { usage }),
        ...(amountNanoUsd !== undefined && { amountNanoUsd }),
        ...(error && { errorCode: error.code }),
        ...(output && outputs.compare(inputHash, output)),
      };
    } catch (error) {
      if (tries === TRIES) throw error;
    }
  }
}

function jobsOf({ observations, books, clients }: FinalJobsOptions): ReadonlyMap<string, Account> {
  const accounts = new Map(clients.map((client) => [client.tenantId, client]));
  const tenantOf = new Map(
    observations.events.flatMap((event) => (event.kind === 'sent' ? [[event.request, event.tenantId] as const] : [])),
  );
  const told = observations.events.flatMap((event) =>
    event.kind === 'answered' && event.jobId !== undefined
      ? [[event.jobId, tenantOf.get(event.request) ?? ''] as const]
      : [],
  );
  const booked = books.jobs.map(({ jobId, tenantId }) => [jobId, tenantId] as const);
  return new Map(
    [...told, ...booked].flatMap(([jobId, tenantId]) => {
      const account = accounts.get(tenantId);
      return account ? [[jobId, account]] : [];
    }),
  );
}

/** By job, what its input was: equal inputs must have equal results. */
function inputsOf({ observations, books }: FinalJobsOptions): ReadonlyMap<string, string> {
  const hashes = new Map(
    observations.events.flatMap((event) => (event.kind === 'sent' ? [[event.request, event.inputHash] as const] : [])),
  );
  return new Map(books.jobs.map(({ jobId, request }) => [jobId, hashes.get(request ?? '') ?? jobId]));
}
