import {
  acceptedMessageSchema,
  inputTexts,
  isServiceError,
  ServiceError,
  MAX_ATTEMPTS,
  RETRY_TIERS,
  type AcceptedMessage,
  type CompletedMessage,
  type ErrorCode,
} from '@sluice/contracts';
import { ack, dead, retry, type Delivery, type Publisher, type Settlement } from '@sluice/broker';
import { decodeOutput } from '@sluice/models';
import { delay, type Logger } from '@sluice/runtime';
import { expired, failed, succeeded, toOutgoing, type Attempt } from './completion.js';
import type { Scheduler } from './scheduler.js';
import type { ServedModel } from './served-models.js';

/** Pause between attempts to publish a result. */
const PUBLISH_AGAIN_AFTER_MS = 500;

export interface JobHandlerOptions {
  /** What is served, by public name. */
  readonly models: ReadonlyMap<string, ServedModel>;
  readonly scheduler: Scheduler;
  readonly publisher: Publisher;
  readonly logger: Logger;
  /** Now, in Unix milliseconds. */
  readonly now: () => number;
  /** Aborts when the worker is told to end: a result that cannot be published then goes back to the queue as a job. */
  readonly stopping: AbortSignal;
}

/** `lost` aborts when the delivery cannot be acknowledged any more. */
export type JobHandler = (delivery: Delivery, lost: AbortSignal) => Promise<Settlement>;

/** What an attempt came to: a fact to publish, or a settlement without one. */
type Outcome = { readonly completed: CompletedMessage } | { readonly settlement: Settlement };

/**
 * Takes a job from a work queue to its terminal fact.
 *
 * ```
 * malformed ─────────────────────────────────▶ dead
 * past its deadline, delivered before ───────▶ ack, the sweep ends it
 * past its deadline ─────────────────────────▶ expired ─┐
 * model not served here ─▶ retry … ─▶ dead              │
 * too long, or refused by the model ─────────▶ failed ──┼─▶ publish, await the confirm ─▶ ack
 * crashes or stalls its process ─▶ retry … ─▶ dead      │
 * otherwise ─────────────────────────────────▶ succeeded┘
 * ```
 *
 * The delivery is acknowledged only after the broker has confirmed the fact, so a worker that dies at any point
 * leads to a second run and never to a lost job; a second fact of the same job changes nothing.
 */
export function createJobHandler(options: JobHandlerOptions): JobHandler {
  const { publisher, logger, stopping } = options;

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

  return async (delivery, lost) => {
    const parsed = parse(delivery.body);
    if ('problem' in parsed) {
      logger.error({ messageId: delivery.messageId, problem: parsed.problem }, 'a work message is malformed');
      return dead(`malformed_message: ${parsed.problem}`);
    }
    const { attempt, redelivered } = delivery;
    const outcome = await attemptJob({ message: parsed.message, attempt, redelivered, lost }, options);
    if ('settlement' in outcome) return outcome.settlement;
    await publish(outcome.completed, lost);
    return ack;
  };
}

interface Job {
  readonly message: AcceptedMessage;
  readonly attempt: number;
  readonly redelivered: boolean;
  readonly lost: AbortSignal;
}

async function attemptJob({ message, attempt, redelivered, lost }: Job, options: JobHandlerOptions): Promise<Outcome> {
  const { logger, now } = options;
  const served = options.models.get(message.model);
  let startedAtMs: number | undefined;
  const facts = (): Attempt => ({
    ...{ message, attempt, startedAtMs, finishedAtMs: now() },
    modelVersion: served?.model.version,
  });

  /**
   * n.b. whoever had a redelivered job before may have published its success and died before the ack. That fact may
   * still wait to be recorded, and `expired` could beat it; the sweep comes late enough not to.
   */
  function tooLate(): Outcome {
    if (!redelivered) return { completed: expired(facts()) };
    logger.warn({ jobId: message.jobId, attempt }, 'a redelivered job is past its deadline, it is left to the sweep');
    return { settlement: ack };
  }

  /** Asked again when the job's turn comes, because it may have waited for a process. */
  function begin(): void {
    if (message.expiresAtMs < now()) throw new ServiceError('expired', 'The job did not start before its deadline.');
    // The broker has given the job to somebody else by now.
    lost.throwIfAborted();
    startedAtMs = now();
  }

  if (message.expiresAtMs < now()) return tooLate();
  if (!served) {
    logger.warn({ jobId: message.jobId, model: message.model, attempt }, 'this worker does not serve the model');
    return { settlement: retryOrGiveUp(attempt, 'model_unavailable', 'no worker of the pool serves the model') };
  }

  const sequences = inputTexts(message.input).map((text) => served.tokenizer.encode(text));
  const inputTokens = sequences.reduce((sum, sequence) => sum + sequence.length, 0);
  if (inputTokens !== message.inputTokens) {
    const counts = { inputTokens, acceptedInputTokens: message.inputTokens };
    logger.error({ jobId: message.jobId, ...counts }, 'the job was accepted with another token count than it has');
  }
  const tooLong = longerThan(served.model.file.maxInputTokens, sequences);
  if (tooLong !== undefined) return { completed: failed(facts(), 'input_too_long', tooLong) };

  try {
    const rows = await options.scheduler.run({
      served,
      sequences,
      class: message.class,
      alone: attempt > 1,
      onStart: begin,
    });
    return { completed: succeeded(facts(), inputTokens, decodeOutput(served.model, rows, sequences.length)) };
  } catch (error) {
    if (lost.aborted || !isServiceError(error)) throw error;
    const { jobId } = message;
    logger.warn({ err: error, jobId, attempt, code: error.code }, 'a job could not be run');
    if (error.code === 'expired') return tooLate();
    if (error.code === 'inference_failed') return { completed: failed(facts(), error.code, error.message) };
    return { settlement: retryOrGiveUp(attempt, error.code, error.message) };
  }
}

/** Attempts are spaced by the tiers; after the last one the dead message makes the job `failed` with this reason. */
function retryOrGiveUp(attempt: number, code: ErrorCode, detail: string): Settlement {
  if (attempt >= MAX_ATTEMPTS) return dead(`${code}: ${detail}`);
  const tier = code === 'model_unavailable' ? RETRY_TIERS[1] : RETRY_TIERS[0];
  return retry(tier.delayMs);
}

/** Why the texts cannot be run. Admission refuses them; a job that was published around it may still hold one. */
function longerThan(maxInputTokens: number, sequences: readonly Int32Array[]): string | undefined {
  const index = sequences.findIndex(({ length }) => length > maxInputTokens);
  return index < 0
    ? undefined
    : `Text ${index} has ${sequences[index]?.length} tokens, the model takes ${maxInputTokens}.`;
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
