import {
  acceptedAtMs,
  acceptedMessageSchema,
  HEADERS,
  type AcceptedMessage,
  type CompletedMessage,
} from '@sluice/contracts';
import { ack, dead, type Delivery, type Publisher, type Settlement } from '@sluice/broker';
import { delay } from '@sluice/runtime';
import { toOutgoing } from './completion.js';
import type { HeldJobs } from './held-jobs.js';
import { attemptJob, type JobAttemptOptions } from './job-attempt.js';
import type { JobClock } from './job-clock.js';
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
  const { publisher, held, shadows, clock, logger, stopping } = options;

  async function publish(completed: CompletedMessage, lost: AbortSignal): Promise<void> {
    for (;;) {
      try {
        return await publisher.publish(toOutgoing(completed));
      } catch (error) {
        if (lost.aborted || stopping.aborted) throw error;
        logger.warn({ err: error, jobId: completed.jobId }, 'a result could not be published, trying again');
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

  return async (delivery, lost) => {
    const parsed = parse(delivery.body);
    if ('problem' in parsed) {
      logger.error({ messageId: delivery.messageId, problem: parsed.problem }, 'a work message is malformed');
      return dead(`malformed_message: ${parsed.problem}`);
    }
    const { message } = parsed;
    const { attempt, redelivered } = delivery;
    const retryReason = reasonOf(delivery);
    clock.accepted(acceptedAtMs(message));
    const hold = held.take(message);
    try {
      const outcome = await attemptJob({ message, attempt, redelivered, retryReason, lost, hold }, options);
      if ('settlement' in outcome) return outcome.settlement;
      await publish(outcome.completed, lost);
      if (outcome.shadowed) compare(outcome.shadowed);
      return ack;
    } finally {
      hold.end();
    }
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
