import type { Dispatcher } from 'undici';
import { call } from '../../client.js';
import type { Answered } from './observations.js';
import type { Output } from './outputs.js';
import type { Submission } from './submissions.js';

/** The parts of a job's answer that a client looks at. */
export interface JobAnswer {
  readonly id: string;
  readonly state: string;
  readonly usage?: { readonly inputTokens: number; readonly outputTokens: number; readonly cachedTokens: number };
  readonly amountNanoUsd?: string;
  readonly output?: Output;
  readonly error?: { readonly code: string };
}

/** What one attempt came to. */
export interface Attempt extends Pick<Answered, 'outcome' | 'status' | 'code' | 'jobId'> {
  readonly job?: JobAnswer;
  /** When to try again, as the answer says. */
  readonly retryAfterMs?: number;
}

/** Codes of 503 that promise that this attempt has queued nothing (docs/errors.md). */
const NOTHING_QUEUED: ReadonlySet<string> = new Set(['quota_unavailable', 'broker_unavailable', 'store_unavailable']);
/** Errors of a connection that never was: nothing has left. */
const NOTHING_SENT: ReadonlySet<string> = new Set(['ECONNREFUSED', 'UND_ERR_CONNECT_TIMEOUT']);

/** What an answer to a submission promises. */
export function outcomeOf(status: number, code: string | undefined): Answered['outcome'] {
  if (status === 202) return 'accepted';
  if (status >= 400 && status < 500) return 'refused';
  return status === 503 && code !== undefined && NOTHING_QUEUED.has(code) ? 'refused' : 'unknown';
}

export interface AttemptOptions {
  readonly url: string;
  readonly dispatcher: Dispatcher;
  readonly timeoutMs: number;
}

/** Sends a submission once. Never rejects: a broken connection is an outcome. */
export async function attemptSubmit(submission: Submission, options: AttemptOptions): Promise<Attempt> {
  const { client, body, idempotencyKey } = submission;
  const { url, dispatcher, timeoutMs } = options;
  try {
    const answer = await call<JobAnswer & { readonly code?: string }>(url, '/v1/jobs', {
      ...{ method: 'POST', key: client.key, body, dispatcher, timeoutMs },
      ...(idempotencyKey !== undefined && { headers: { 'idempotency-key': idempotencyKey } }),
    });
    const retryAfter = Number(answer.headers['retry-after']);
    return {
      ...attemptOf(answer.status, answer.body),
      ...(Number.isFinite(retryAfter) && { retryAfterMs: retryAfter * 1_000 }),
    };
  } catch (error) {
    const code = errorCode(error);
    return { outcome: NOTHING_SENT.has(code) ? 'refused' : 'unknown', code };
  }
}

/** What a document says that answers a submission, whichever way it came. */
export function attemptOf(status: number, body: JobAnswer & { readonly code?: string }): Attempt {
  const outcome = outcomeOf(status, body.code);
  if (outcome === 'accepted') return { outcome, status, jobId: body.id, job: body };
  return { outcome, status, ...(body.code !== undefined && { code: body.code }) };
}

/** The code of an error of a connection, or its name. */
export function errorCode(error: unknown): string {
  const { code, name } = error as { readonly code?: unknown; readonly name?: unknown };
  if (typeof code === 'string') return code;
  return typeof name === 'string' ? name : 'unknown';
}
