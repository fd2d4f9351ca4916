import {
  askedOf,
  EXCHANGES,
  MESSAGE_TYPES,
  NO_USAGE,
  type AcceptedMessage,
  type CompletedMessage,
  type ErrorCode,
  type JobOutput,
  type Usage,
} from '@sluice/contracts';
import type { OutgoingMessage } from '@sluice/broker';

/** Longest text of an error that a fact may have. */
const MAX_DETAIL = 2_000;

/** One attempt of a job at a worker. */
export interface Attempt {
  readonly message: AcceptedMessage;
  /** From 1. */
  readonly attempt: number;
  /** Version of the model that serves the job; undefined when none does. */
  readonly modelVersion: string | undefined;
  /** When inference began, by the clock of jobs (Unix milliseconds); undefined when it did not. */
  readonly startedAtMs: number | undefined;
  /** Now, by the same clock. */
  readonly finishedAtMs: number;
}

/** The job ran. `usage` is the exact number of real tokens of its texts or tensors, without padding. */
export function succeeded(attempt: Attempt, usage: Usage, output: JobOutput): CompletedMessage {
  return {
    state: 'succeeded',
    usage,
    output,
    ...terminal(attempt),
  };
}

/** The job can never succeed; it is not billed. `detail` is shown to the tenant. */
export function failed(attempt: Attempt, code: ErrorCode, detail: string): CompletedMessage {
  return {
    state: 'failed',
    usage: NO_USAGE,
    error: { code, detail: detail.slice(0, MAX_DETAIL) },
    ...terminal(attempt),
  };
}

/** The deadline passed before the job began; it is not billed. */
export function expired(attempt: Attempt): CompletedMessage {
  const detail = 'The job did not start before its deadline.';
  return { state: 'expired', usage: NO_USAGE, error: { code: 'expired', detail }, ...terminal(attempt) };
}

/** Somebody asked for the end. The texts that had run by then are billed; what they gave is thrown away. */
export function canceled(attempt: Attempt, inputTokens: number): CompletedMessage {
  return { state: 'canceled', usage: { ...NO_USAGE, inputTokens }, ...terminal(attempt) };
}

/** n.b. spreads come last here: a literal that begins with one takes V8 1.5 µs instead of 50 ns. */
function terminal({ message, attempt, modelVersion, startedAtMs, finishedAtMs }: Attempt) {
  const { jobId, tenantId, apiKeyId, model, reservedTokens, reservedNanoUsd } = message;
  return {
    jobId,
    tenantId,
    apiKeyId,
    model,
    class: message.class,
    reservedTokens,
    accepted: askedOf(message),
    attempt,
    // n.b. the clock may have been set back meanwhile.
    finishedAtMs: Math.max(finishedAtMs, startedAtMs ?? 0),
    // n.b. 0 is what the gateway knew the job to cost. Where it did not know, what the job costs is no overage.
    ...(reservedNanoUsd !== undefined && { reservedNanoUsd }),
    ...(modelVersion !== undefined && startedAtMs !== undefined && { modelVersion }),
    ...(startedAtMs !== undefined && { startedAtMs }),
  };
}

/** The message as it is published to the results exchange. */
export function toOutgoing(message: CompletedMessage): OutgoingMessage {
  return {
    exchange: EXCHANGES.results,
    routingKey: MESSAGE_TYPES.completed,
    type: MESSAGE_TYPES.completed,
    messageId: message.jobId,
    body: Buffer.from(JSON.stringify(message)),
  };
}
