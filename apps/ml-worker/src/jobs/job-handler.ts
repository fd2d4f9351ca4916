import {
  acceptedAtMs,
  acceptedMessageSchema,
  HEADERS,
  type AcceptedMessage,
  type CompletedMessage,
} from '@sluice/contracts';
import {
  ack,
  dead,
  publishIn,
  settlementAfterError,
  type Delivery,
  type Publisher,
  type Settlement,
} from '@sluice/broker';
import { delay } from '@sluice/runtime';
import { errorType, type Span, type Trace, type Tracer } from '@sluice/telemetry';
import { toOutgoing } from './completion.js';
import type { HeldJobs } from './held-jobs.js';
import { attemptJob, type JobAttemptOptions } from './job-attempt.js';
import type { JobClock } from './job-clock.js';
import { followDelivery, noteCompleted, noteJob, noteSettlement } from './job-spans.js';
import type { ShadowedJob, Shadows } from '../shadows/shadows.js';

/** Pause between attempts to publish a result. */
const PUBLISH_AGAIN_AFTER_MS = 500;

export interface JobHandlerOptions extends JobAttemptOptions {
  readonly publisher: Pick<Publisher, 'publish'>;
  readonly held: Pick<HeldJobs, 'take'>;
  readonly clock: Pick<JobClock, 'now' | 'accepted'>;
  /** Takes jobs that are to be compared with what another version makes of them. */
  readonly shadows: Pick<Shadows, 'offer'>;
  /** Aborts when the worker is told to end: a result that cannot be published then goes back to the queue as a job. */
  readonly stopping: AbortSignal;
  readonly tracer: Tracer;
}

/** `lost` aborts when the delivery cannot be acknowledged any more. */
export type JobHandler = (delivery: Delivery, lost: AbortSignal) => Promise<Settlement>;

/**
 * Takes a job from a work queue to its terminal fact.
 *
 * ```
 * malformed ───────────────────────────────────▶ dead
 * past its deadline, tried or delivered before ─▶ ack, the sweep ends it
 * past its deadline ────────────────────────────▶ expired ──┐
 * cancelled, before or while it runs ───────────▶ canceled ─┤
 * too long, or refused by the model ────────────▶ failed ───┼─▶ publish, await the confirm ─▶ ack
 * otherwise ────────────────────────────────────▶ succeeded ┘
 * any other error ─▶ by RETRY_POLICY: retry … ──▶ dead
 * ```
 *
 * The delivery is acknowledged only after the broker has confirmed the fact, so a worker that dies at any point
 * leads to a second run and never to a lost job; a second fact of the same job changes nothing.
 */
export function createJobHandler(options: JobHandlerOptions): JobHandler {
  const { publisher, held, shadows, clock, observer, logger, stopping, tracer } = options;

  async function publish(completed: CompletedMessage, trace: Trace | undefined, lost: AbortSignal): Promise<void> {
    for (;;) {
      try {
        return await publishIn(trace, publisher, toOutgoing(completed));
      } catch (error) {
        if (lost.aborted || stopping.aborted) throw error;
        const facts = { err: error, jobId: completed.jobId, traceId: trace?.span?.traceId };
        logger.warn(facts, 'a result could not be published, trying again');
        await delay(PUBLISH_AGAIN_AFTER_MS, lost);
      }
    }
  }

  /** n.b. the job is answered: whatever goes wrong here, its delivery is to be acknowledged. */
  function compare(job: ShadowedJob): void {
    try {
      shadows.offer(job);
    } catch (error) {
      logger.error({ err: error, jobId: job.jobId }, 'an answered job could not be given to its shadow version');
    }
  }

  async function handle(delivery: Delivery, trace: Trace | undefined, lost: AbortSignal): Promise<Settlement> {
    const parsed = parse(delivery.body);
    if ('problem' in parsed) {
      const { messageId } = delivery;
      logger.error(
        { messageId, traceId: trace?.span?.traceId, problem: parsed.problem },
        'a work message is malformed',
      );
      const settlement = dead(`malformed_message: ${parsed.problem}`);
      observer.failed('malformed_message', settlement);
      return settlement;
    }
    const { message } = parsed;
    const { attempt, redelivered } = delivery;
    const retryReason = reasonOf(delivery);
    clock.accepted(acceptedAtMs(message));
    const span = trace?.span;
    if (span) noteJob(span, message, clock.now());
    const hold = held.take(message);
    try {
      // n.b. only for jobs that are recorded: a logger of its own costs as much as the rest of this function.
      const own = span ? { ...options, logger: logger.child({ traceId: span.traceId }) } : options;
      const outcome = await attemptJob({ message, attempt, redelivered, retryReason, lost, hold, span }, own);
      if ('settlement' in outcome) return outcome.settlement;
      if (span) noteCompleted(span, outcome.completed);
      await publish(outcome.completed, trace, lost);
      observer.ended(outcome.completed);
      if (outcome.shadowed) compare(outcome.shadowed);
      return ack;
    } catch (error) {
      // n.b. the consumer settles it so, unless the delivery goes back to its queue.
      if (!lost.aborted && !stopping.aborted) observer.failed('internal', settlementAfterError(attempt));
      throw error;
    } finally {
      hold.end();
    }
  }

  async function record(span: Span, work: Promise<Settlement>): Promise<Settlement> {
    try {
      const settlement = await work;
      noteSettlement(span, settlement);
      return settlement;
    } catch (error) {
      span.fail(errorType(error));
      throw error;
    } finally {
      span.end();
    }
  }

  return (delivery, lost) => {
    const trace = followDelivery(tracer, delivery);
    const handled = handle(delivery, trace, lost);
    return trace?.span ? record(trace.span, handled) : handled;
  };
}

function reasonOf({ headers }: Delivery): string | undefined {
  const reason = headers[HEADERS.retryReason];
  return typeof reason === 'string' ? reason : undefined;
}

function parse(body: Buffer): { readonly message: AcceptedMessage } | { readonly problem: string } {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    return { problem: 'the body is not valid JSON' };
  }
  const parsed = acceptedMessageSchema.safeParse(value);
  if (parsed.success) return { message: parsed.data };
  const issue = parsed.error.issues[0];
  return { problem: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`.slice(0, 500) };
}
