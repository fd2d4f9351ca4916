import { isJobId, isTerminal } from '@sluice/contracts';
import type { JobWaiter } from '@sluice/quota';
import { within } from '@sluice/telemetry';
import { Router, type Request, type RequestHandler, type Response } from 'express';
import { z } from 'zod';
import type { Admission } from '../admission.js';
import type { Authentication } from '../authentication.js';
import { noSuchJob, type Cancellation } from '../cancellation.js';
import { validate } from '../field-errors.js';
import type { GatewayMetrics } from '../gateway-metrics.js';
import type { JobLookup, LookupOptions } from '../job-lookup.js';
import type { JobView } from '../job-view.js';
import { readJsonBody } from '../middleware/json-body.js';
import { acceptedAttributes } from '../caller-traces.js';
import type { RequestTraces } from '../request-traces.js';
import { sendJson } from '../middleware/respond.js';
import { requireNoQuery } from '../query-fields.js';
import { rateLimitHeaders } from '../rate-limit-headers.js';
import { parseIdempotencyKey, parseSubmission, type SubmissionBounds } from '../submission.js';

export interface JobRoutesOptions {
  readonly authentication: Authentication;
  readonly admission: Admission;
  readonly lookup: JobLookup;
  readonly cancellation: Cancellation;
  readonly waiter: Pick<JobWaiter, 'wait' | 'channels'>;
  readonly maxBodyBytes: number;
  readonly bounds: SubmissionBounds;
  readonly maxWaitMs: number;
  /** Most long polls at once; one more answers at once. */
  readonly maxWaitingPolls: number;
  /** Aborted when the gateway drains: a long poll then answers with the state it knows. */
  readonly draining: AbortSignal;
  readonly requestTraces: Pick<RequestTraces, 'of'>;
  readonly metrics: Pick<GatewayMetrics, 'refused' | 'polling'>;
}

/** `POST /v1/jobs`: checks, reserves, queues; answers 202 with the job. */
export function submitJob(options: JobRoutesOptions): RequestHandler {
  const { authentication, admission, metrics, requestTraces } = options;

  async function submit(request: Request, response: Response): Promise<void> {
    const trace = requestTraces.of(request);
    const principal = await within(trace?.span, 'authenticate', () =>
      authentication.authenticate(request.headers.authorization),
    );
    const idempotencyKey = parseIdempotencyKey(request.headers['idempotency-key'] as string | undefined);
    const body = await readJsonBody(request, options.maxBodyBytes);
    requireNoQuery(request);
    const submission = parseSubmission(body, options.bounds);
    const { job, scopes, limits } = await admission({ principal, submission, idempotencyKey, trace });
    trace?.span?.set(acceptedAttributes(principal, job));
    sendJson(response, 202, job, { location: `/v1/jobs/${job.id}`, ...rateLimitHeaders(scopes, limits) });
  }

  return async function handleSubmit(request, response) {
    try {
      await submit(request, response);
    } catch (error) {
      metrics.refused(error);
      throw error;
    }
  };
}

/**
 * `GET /v1/jobs/:id?wait=<seconds>`: the tenant's own job; with `wait`, when it is terminal or the time is over.
 * `DELETE /v1/jobs/:id`: cancels it; 200 when it is canceled, 202 when that is under way.
 */
export function jobRoutes(options: JobRoutesOptions): Router {
  const { authentication, lookup, cancellation, waiter } = options;
  const querySchema = z.strictObject({
    wait: z
      .string()
      .regex(/^\d{1,4}(\.\d{1,3})?$/, 'must be a number of seconds')
      .transform((seconds) => Number(seconds) * 1000)
      .refine((ms) => ms <= options.maxWaitMs, `must be at most ${options.maxWaitMs / 1000}`)
      .optional(),
  });

  async function find(tenantId: string, jobId: string, options?: LookupOptions): Promise<JobView | undefined> {
    return (await lookup(tenantId, jobId, options))?.view;
  }

  async function findWaiting(request: Request, tenantId: string, jobId: string, waitMs: number) {
    const mayWait = waitMs > 0 && waiter.channels < options.maxWaitingPolls;
    let job = await find(tenantId, jobId, { quick: mayWait });
    if (!mayWait || !job || isTerminal(job.state)) return job;
    const ended = options.metrics.polling();
    const waited = waiter.wait(tenantId, jobId, {
      timeoutMs: waitMs,
      signal: AbortSignal.any([options.draining, closed(request)]),
      check: async () => {
        job = await find(tenantId, jobId, { quick: true });
        return job !== undefined && isTerminal(job.state);
      },
    });
    await waited.finally(ended);
    return job && isTerminal(job.state) ? job : await find(tenantId, jobId);
  }

  const router = Router();
  router.get('/v1/jobs/:id', async (request, response) => {
    const principal = await authentication.authenticate(request.headers.authorization);
    const { wait } = validate(querySchema, request.query);
    const jobId = request.params.id;
    if (!isJobId(jobId)) throw noSuchJob('is not a job id');
    const job = await findWaiting(request, principal.tenantId, jobId, wait ?? 0);
    if (!job) throw noSuchJob('names no job of this tenant');
    sendJson(response, 200, job);
  });

  router.delete('/v1/jobs/:id', async (request, response) => {
    const { tenantId } = await authentication.authenticate(request.headers.authorization);
    requireNoQuery(request);
    const jobId = request.params.id;
    if (!isJobId(jobId)) throw noSuchJob('is not a job id');
    const job = await cancellation({ tenantId, jobId, signal: options.draining });
    sendJson(response, job.state === 'canceled' ? 200 : 202, job);
  });
  return router;
}

function closed(request: Request): AbortSignal {
  const controller = new AbortController();
  if (request.destroyed || request.socket.destroyed) controller.abort();
  request.once('close', () => controller.abort());
  return controller.signal;
}
