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
import type { FoundJob, JobAccount, JobLookup } from './job-lookup.js';
import type { JobView } from './job-view.js';

export interface CancellationOptions {
  readonly lookup: JobLookup;
  readonly publisher: Pick<Publisher, 'publish'>;
  readonly waiter: Pick<JobWaiter, 'wait'>;
  /** Unix milliseconds. */
  readonly now: () => number;
  /** How long a worker has to answer before the gateway ends a job that is not running; 1 s when absent. */
  readonly workerWaitMs?: number;
  /** How long the end that the gateway itself announced may take to be recorded; 2 s when absent. */
  readonly recordWaitMs?: number;
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
const RECORD_WAIT_MS = 2_000;

/**
 * ```
 * tell every worker ─▶ wait for the end ─ended─▶ canceled: 200, otherwise: 409
 *                           │ no worker has the job
 *                           ├─running─▶ 202: its worker stops at the next chance, and it is billed for what it used
 *                           └─queued──▶ publish `canceled` without usage, wait until that is recorded
 * ```
 *
 * The first terminal fact wins, so whatever a worker says meanwhile changes nothing or comes first. Workers remember
 * the request until the job's deadline and do not begin a job that is delivered later.
 */
export function createCancellation(options: CancellationOptions): Cancellation {
  const { lookup, publisher, waiter, now } = options;
  const { workerWaitMs = WORKER_WAIT_MS, recordWaitMs = RECORD_WAIT_MS } = options;

  async function find({ tenantId, jobId }: CancelRequest): Promise<FoundJob> {
    const found = await lookup(tenantId, jobId);
    if (!found) throw noSuchJob('names no job of this tenant');
    if (isTerminal(found.view.state) && found.view.state !== 'canceled') throw jobEnded(found.view);
    return found;
  }

  async function findAfter(request: CancelRequest, timeoutMs: number): Promise<FoundJob> {
    const { tenantId, jobId, signal } = request;
    const check = async (): Promise<boolean> => {
      const found = await lookup(tenantId, jobId);
      return found !== undefined && isTerminal(found.view.state);
    };
    // n.b. without Redis nobody tells of the end; what is recorded by then answers.
    await waiter.wait(tenantId, jobId, { timeoutMs, signal, check }).catch(() => delay(timeoutMs, signal));
    return find(request);
  }

  return async function cancel(request) {
    const found = await find(request);
    if (found.view.state === 'canceled') return found.view;
    await publisher.publish(cancelMessage(request.tenantId, found.account));
    const { view, account } = await findAfter(request, workerWaitMs);
    if (view.state !== 'queued' || request.signal.aborted) return view;
    await publisher.publish(canceledFact(request.tenantId, account, now()));
    return (await findAfter(request, recordWaitMs)).view;
  };
}

function cancelMessage(tenantId: string, { jobId, expiresAtMs }: JobAccount): OutgoingMessage {
  return {
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
  const { jobId, apiKeyId, model, reservedTokens, reservedNanoUsd } = account;
  const fact: CompletedMessage = {
    ...{ jobId, tenantId, apiKeyId, model, class: account.class, reservedTokens, reservedNanoUsd },
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
