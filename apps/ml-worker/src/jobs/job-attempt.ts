import {
  isServiceError,
  ServiceError,
  type AcceptedMessage,
  type CompletedMessage,
  type ErrorCode,
} from '@sluice/contracts';
import { ack, type Settlement } from '@sluice/broker';
import type { Logger } from '@sluice/runtime';
import type { Span } from '@sluice/telemetry';
import type { Cancellations } from './cancellations.js';
import { canceled, expired, failed, succeeded, type Attempt } from './completion.js';
import type { Hold } from './held-jobs.js';
import type { JobClock } from './job-clock.js';
import type { JobObserver } from './job-metrics.js';
import { jobSpans } from './job-spans.js';
import { jobWorkOf, type JobWork } from './job-work.js';
import { isSuspected, retryRuleOf, settlementAfter, type Redelivery } from './retry-policy.js';
import { isTensorWork, type Work, type WorkOutcome } from '../scheduling/running-job.js';
import type { Scheduler } from '../scheduling/scheduler.js';
import type { ServedModel, Shadow } from '../models/served-models.js';
import type { ShadowedJob } from '../shadows/shadows.js';
import type { StartedNotices } from './started-notices.js';

export interface JobAttemptOptions {
  /** Which version runs a job. */
  readonly models: {
    readonly route: (message: AcceptedMessage) => ServedModel | undefined;
    readonly shadowOf: (message: AcceptedMessage, answeredBy: ServedModel) => Shadow | undefined;
  };
  readonly scheduler: Pick<Scheduler, 'run' | 'cancel'>;
  readonly cancellations: Cancellations;
  readonly notices: StartedNotices;
  readonly observer: JobObserver;
  readonly logger: Logger;
  /** What deadlines are compared with. */
  readonly clock: Pick<JobClock, 'now'>;
}

/** A job as it was delivered. */
export interface DeliveredJob extends Redelivery {
  readonly message: AcceptedMessage;
  /** Aborts when the delivery cannot be acknowledged any more. */
  readonly lost: AbortSignal;
  readonly hold: Pick<Hold, 'begin'>;
  /** Undefined for a job that is not recorded. */
  readonly span: Span | undefined;
}

/** What an attempt came to: a fact to publish, or a settlement without one. */
export type AttemptOutcome =
  /** `shadowed`: the job is to be compared with what another version makes of it, once it is answered. */
  | { readonly completed: CompletedMessage; readonly shadowed?: ShadowedJob | undefined }
  | { readonly settlement: Settlement };

/** An attempt under way. */
interface Context extends JobAttemptOptions {
  readonly job: DeliveredJob;
  readonly served: ServedModel | undefined;
  /** When inference began; undefined before. */
  startedAtMs: number | undefined;
}

/**
 * One attempt of a job, from its delivery to what came of it. The drawing is at `createJobHandler`.
 *
 * @throws what is not a `ServiceError`, and anything once the delivery is lost.
 */
export async function attemptJob(job: DeliveredJob, options: JobAttemptOptions): Promise<AttemptOutcome> {
  const { message, attempt } = job;
  const { logger } = options;
  const served = options.models.route(message);
  const context: Context = { job, served, startedAtMs: undefined, ...options };
  if (isLate(context)) return tooLate(context);
  if (options.cancellations.has(message)) return { completed: canceled(factsOf(context), 0) };
  if (!served) {
    logger.warn({ jobId: message.jobId, model: message.model, attempt }, 'this worker does not serve the model');
    return failure(context, 'model_unavailable', 'no worker of the pool serves the model');
  }
  const found = jobWorkOf(message, served, logger);
  return 'code' in found ? failure(context, found.code, found.detail) : run(context, served, found);
}

async function run(context: Context, served: ServedModel, { work: workOf, result }: JobWork): Promise<AttemptOutcome> {
  const { cancellations, scheduler, notices } = context;
  const { message, span } = context.job;
  const spans = span && jobSpans(span, message, served);
  const onStart = (): void => {
    begin(context);
    spans?.begin();
  };
  const remainingMs = message.expiresAtMs - context.clock.now();
  const work = workOf({ class: message.class, alone: isSuspected(context.job), remainingMs, onStart, spans });
  const unwatch = cancellations.watch(message, () => scheduler.cancel(work));
  try {
    const outcome = await scheduler.run(work);
    if (outcome.state === 'canceled') return { completed: canceled(factsOf(context), outcome.ranTokens) };
    const { usage, output } = result(outcome);
    return { completed: succeeded(factsOf(context), usage, output), shadowed: shadowedJob(context, work, outcome) };
  } catch (error) {
    spans?.fail(error);
    return afterError(context, error);
  } finally {
    spans?.end();
    unwatch();
    notices.end(message);
  }
}

/** n.b. by the routes of now; those that the job went by may be gone. */
function shadowedJob({ job, models }: Context, work: Work, outcome: WorkOutcome): ShadowedJob | undefined {
  if (isTensorWork(work) || !('rows' in outcome)) return undefined;
  const { served, sequences } = work;
  const { jobId, model } = job.message;
  const shadow = models.shadowOf(job.message, served);
  return shadow && { jobId, model, served, shadow, sequences, rows: outcome.rows };
}

/** The job's turn has come. Its deadline is looked at again, because it may have waited for a process. */
function begin(context: Context): void {
  if (isLate(context)) throw new ServiceError('expired', 'The job did not start before its deadline.');
  // The broker has given the job to somebody else by now.
  context.job.lost.throwIfAborted();
  context.startedAtMs = context.clock.now();
  context.job.hold.begin();
  context.notices.begin(context.job.message);
  if (context.job.attempt === 1) context.observer.began(context.job.message, context.startedAtMs);
}

function afterError(context: Context, error: unknown): AttemptOutcome {
  const { message, attempt, lost } = context.job;
  if (lost.aborted || !isServiceError(error)) throw error;
  context.logger.warn({ err: error, jobId: message.jobId, attempt, code: error.code }, 'a job could not be run');
  return error.code === 'expired' ? tooLate(context) : failure(context, error.code, error.message);
}

function isLate({ job, clock }: Context): boolean {
  return job.message.expiresAtMs < clock.now();
}

/**
 * n.b. whoever had a redelivered job, or an earlier attempt, may have published its success and died before the broker
 * knew that the job was done: a retry may be a copy of which the original ran again. That fact may still wait to be
 * recorded, and `expired` could beat it; the sweep comes late enough not to.
 */
function tooLate(context: Context): AttemptOutcome {
  const { message, attempt, redelivered } = context.job;
  if (!redelivered && attempt === 1) return { completed: expired(factsOf(context)) };
  const facts = { jobId: message.jobId, attempt };
  context.logger.warn(facts, 'a job that was delivered before is past its deadline, it is left to the sweep');
  return { settlement: ack };
}

/** An error that would come again ends the job; any other is tried again by its rule. */
function failure(context: Context, code: ErrorCode, detail: string): AttemptOutcome {
  const { job } = context;
  const { message, attempt } = job;
  if (retryRuleOf(code).attempts === 1) return { completed: failed(factsOf(context), code, detail) };
  const remainingMs = message.expiresAtMs - context.clock.now();
  const settlement = settlementAfter({ code, detail, attempt, suspected: isSuspected(job), remainingMs });
  context.observer.failed(code, settlement);
  return { settlement };
}

function factsOf({ job, served, startedAtMs, clock }: Context): Attempt {
  const { message, attempt } = job;
  return { message, attempt, modelVersion: served?.model.version, startedAtMs, finishedAtMs: clock.now() };
}
