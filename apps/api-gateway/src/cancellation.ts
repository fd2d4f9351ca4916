import {
  EXCHANGES,
  isTerminal,
  MESSAGE_TYPES,
  NO_USAGE,
  ServiceError,
  type CancelMessage,
  type CompletedMessage,
} from '@sluice/contracts';
import type { OutgoingMessage, Publisher } from '@sluice/broker';
import type { JobWaiter } from '@sluice/quota';
import { delay } from '@sluice/runtime';
import type { Hearing, HoldingAnswers } from './holding-answers.js';
import type { FoundJob, JobAccount, JobLookup } from './job-lookup.js';
import type { JobView } from './job-view.js';

export interface CancellationOptions {
  readonly lookup: JobLookup;
  readonly publisher: Pick<Publisher, 'publish'>;
  readonly waiter: Pick<JobWaiter, 'wait'>;
  readonly answers: Pick<HoldingAnswers, 'queue' | 'listen'>;
  /** Unix milliseconds. */
  readonly now: () => number;
  /** How long a worker has to answer before the gateway ends a job that no worker has; 1 s when absent. */
  readonly workerWaitMs?: number;
  /** How long the end may take after that until the answer is that it is under way; 2 s when absent. */
  readonly endWaitMs?: number;
}

export interface CancelRequest {
  readonly tenantId: string;
  readonly jobId: string;
  /**
   * Aborts when the gateway drains: the job is then left to the workers. n.b. a client that goes away must not shorten
   * the wait for them, or a running job could be ended unbilled.
   */
  readonly signal: AbortSignal;
}

/**
 * Ends a job that is not wanted any more. Answers with the job: `canceled`, or still open when the cancellation is under
 * way but not at its end. Asking again is harmless.
 *
 * @throws ServiceError `job_not_found`, `job_ended` (extension `state`), `broker_unavailable`, `publish_unconfirmed`,
 * `store_unavailable`.
 */
export type Cancellation = (request: CancelRequest) => Promise<JobView>;

const WORKER_WAIT_MS = 1_000;
const END_WAIT_MS = 2_000;

/**
 * ```
 * tell every worker ─▶ wait for the end ─ended─▶ canceled: 200, otherwise: 409
 *                           │ a second has passed
 *                           ├─a worker has answered──▶ wait on; it ends the job, billed for what it used
 *                           ├─known as running───────▶ 202: its worker stops at the next chance, and bills likewise
 *                           └─nobody has the job─────▶ publish `canceled` without usage, wait until that is recorded
 * ```
 *
 * The first terminal fact wins, so a job that a worker has must not be ended here: what it used would be billed to
 * nobody. That a job is running is known from its worker; what Redis knows of it may be late, or lost. Workers
 * remember the request until the job's deadline and do not begin a job that is delivered later.
 */
export function createCancellation(options: CancellationOptions): Cancellation {
  const { lookup, publisher, waiter, answers, now } = options;
  const { workerWaitMs = WORKER_WAIT_MS, endWaitMs = END_WAIT_MS } = options;

  /** n.b. Redis may lose the job after it was found and before it is recorded: then it is as it was. */
  async function find({ tenantId, jobId }: CancelRequest, earlier?: FoundJob): Promise<FoundJob> {
    const found = (await lookup(tenantId, jobId)) ?? earlier;
    if (!found) throw noSuchJob('names no job of this tenant');
    if (isTerminal(found.view.state) && found.view.state !== 'canceled') throw jobEnded(found.view);
    return found;
  }

  /** The job when it has ended, at the latest after a time in milliseconds. */
  async function findAfter(request: CancelRequest, timeoutMs: number, earlier: FoundJob): Promise<FoundJob> {
    const { tenantId, jobId, signal } = request;
    const check = async (): Promise<boolean> => {
      const found = await lookup(tenantId, jobId, { quick: true });
      return found !== undefined && isTerminal(found.view.state);
    };
    // n.b. without Redis nobody tells of the end; what is recorded by then answers.
    await waiter.wait(tenantId, jobId, { timeoutMs, signal, check }).catch(() => delay(timeoutMs, signal));
    return find(request, earlier);
  }

  /** Whether this gateway may end the job: no worker has it, and one that had could have said so. */
  function isNobodys({ view }: FoundJob, { holding }: Hearing, replyTo: string): boolean {
    return view.state === 'queued' && holding === undefined && answers.queue === replyTo;
  }

  async function end(request: CancelRequest, found: FoundJob, hearing: Hearing): Promise<JobView> {
    const replyTo = answers.queue;
    if (replyTo === undefined) throw new ServiceError('broker_unavailable', 'Workers cannot be asked for the job now.');
    await publisher.publish(cancelMessage(request.tenantId, found.account, replyTo));
    const later = await findAfter(request, workerWaitMs, found);
    if (isTerminal(later.view.state) || request.signal.aborted) return later.view;
    if (isNobodys(later, hearing, replyTo)) {
      await publisher.publish(canceledFact(request.tenantId, later.account, now()));
    } else if (hearing.holding === undefined) {
      return later.view;
    }
    const { view } = await findAfter(request, endWaitMs, later);
    return view.state === 'queued' && hearing.holding === 'running' ? { ...view, state: 'running' } : view;
  }

  return async function cancel(request) {
    const found = await find(request);
    if (found.view.state === 'canceled') return found.view;
    const hearing = answers.listen(request.jobId);
    return end(request, found, hearing).finally(() => hearing.end());
  };
}

function cancelMessage(tenantId: string, { jobId, expiresAtMs }: JobAccount, replyTo: string): OutgoingMessage {
  return {
    replyTo,
    exchange: EXCHANGES.cancellations,
    routingKey: '',
    type: MESSAGE_TYPES.cancel,
    messageId: jobId,
    body: Buffer.from(JSON.stringify({ jobId, tenantId, expiresAtMs } satisfies CancelMessage)),
    // Without any worker nobody needs to hear it.
    mandatory: false,
  };
}

function canceledFact(tenantId: string, account: JobAccount, finishedAtMs: number): OutgoingMessage {
  const { jobId, apiKeyId, model, reservedTokens, reservedNanoUsd, accepted } = account;
  const fact: CompletedMessage = {
    ...{ jobId, tenantId, apiKeyId, model, class: account.class, reservedTokens },
    ...(reservedNanoUsd !== undefined && { reservedNanoUsd }),
    ...(accepted && { accepted }),
    state: 'canceled',
    usage: NO_USAGE,
    attempt: 1,
    finishedAtMs,
  };
  return {
    exchange: EXCHANGES.results,
    routingKey: MESSAGE_TYPES.completed,
    type: MESSAGE_TYPES.completed,
    messageId: jobId,
    body: Buffer.from(JSON.stringify(fact)),
  };
}

function jobEnded({ state }: JobView): ServiceError {
  return new ServiceError('job_ended', `The job has ${state} already.`, {
    extensions: { state },
  });
}

/** `job_not_found`; `reason` says of the id why. */
export function noSuchJob(reason: string): ServiceError {
  return new ServiceError('job_not_found', 'No such job.', { fields: [{ field: 'id', reason }] });
}
