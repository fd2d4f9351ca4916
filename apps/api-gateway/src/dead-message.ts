import {
  acceptedMessageSchema,
  HEADERS,
  inputTexts,
  isTensorInput,
  MESSAGE_TYPES,
  QUEUES,
  ServiceError,
  type AcceptedMessage,
} from '@sluice/contracts';
import type { DeadLetterRecord } from '@sluice/store';
import type { Submission } from './submission.js';

/** What a dead letter is, for a replay. */
export type DeadMessage =
  /** A job that was not done. */
  | { readonly kind: 'job'; readonly message: AcceptedMessage }
  /** What the collector could not record of a job. */
  | { readonly kind: 'fact' };

/**
 * Reads what a dead letter is about. n.b. a submission of another service may look like a job or a fact of anybody's: the
 * collector names no job for it, and so it is refused here.
 *
 * @throws ServiceError `not_replayable`, saying why.
 */
export function readDeadMessage(letter: DeadLetterRecord): DeadMessage {
  const { jobId, keptBytes, payloadBytes, type } = letter;
  if (jobId === undefined) throw notReplayable('It is about no job.');
  if (keptBytes < payloadBytes) throw notReplayable(`Only ${keptBytes} of its ${payloadBytes} bytes were kept.`);
  if (type === MESSAGE_TYPES.completed || sourceOf(letter) === QUEUES.results) return { kind: 'fact' };
  const message = acceptedMessageSchema.safeParse(parse(letter.payload)).data;
  if (type !== MESSAGE_TYPES.accepted || message?.jobId !== jobId)
    throw notReplayable('It holds no job that can be read.');
  return { kind: 'job', message };
}

export function notReplayable(detail: string, extensions: Readonly<Record<string, unknown>> = {}): ServiceError {
  return new ServiceError('not_replayable', detail, { extensions });
}

/** What was asked for when the job was submitted, but for its deadline. */
export function submissionOf({
  model,
  input,
  metadata,
  maxOutputTokens,
  class: jobClass,
}: AcceptedMessage): Submission {
  // The message has the cap over all texts.
  const each = isTensorInput(input) ? maxOutputTokens : Math.floor(maxOutputTokens / inputTexts(input).length);
  return { model, input, maxOutputTokens: each, class: jobClass, ...(metadata && { metadata }) };
}

/** Whose replay a replay of this job is, and which. */
export function replayOf({ jobId, replay }: AcceptedMessage): NonNullable<AcceptedMessage['replay']> {
  return { of: replay?.of ?? jobId, epoch: (replay?.epoch ?? 0) + 1 };
}

/** The queue where the message died: by the header of ours, else by the broker's newest entry that is no retry tier's. */
function sourceOf({ headers }: DeadLetterRecord): string | undefined {
  const ours = headers[HEADERS.source];
  if (typeof ours === 'string') return ours;
  const deaths: readonly unknown[] = Array.isArray(headers['x-death']) ? headers['x-death'] : [];
  return deaths.map(queueOf).find((queue) => queue !== undefined && !queue.startsWith('retry.'));
}

function queueOf(death: unknown): string | undefined {
  const { queue } = Object(death) as { readonly queue?: unknown };
  return typeof queue === 'string' ? queue : undefined;
}

function parse(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString());
  } catch {
    return undefined;
  }
}
