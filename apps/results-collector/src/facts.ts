import type { OutgoingMessage } from '@sluice/broker';
import { acceptedMessageSchema, completedMessageSchema, EXCHANGES, MESSAGE_TYPES, NO_USAGE } from '@sluice/contracts';
import type { CompletedFact, Fact } from '@sluice/store';
import type { z } from 'zod';

/** A message as read from a queue: the fact it carries, or why it carries none. */
export type Decoded =
  { readonly fact: Fact; readonly problem?: undefined } | { readonly fact?: undefined; readonly problem: string };

const MAX_PROBLEM_LENGTH = 300;

/**
 * Reads a message by its AMQP `type`. A message that cannot be read gives a problem
 * `malformed_message: <field>: <reason>`, which never repeats a value of the message.
 */
export function decodeFact(message: { readonly type: string; readonly body: Buffer }): Decoded {
  switch (message.type) {
    case MESSAGE_TYPES.accepted:
      return decodeAccepted(message.body);
    case MESSAGE_TYPES.completed:
      return decodeCompleted(message.body);
    default:
      return malformed('type', 'is not a known message type');
  }
}

/** Identifies a fact: there is one accepted and one completed fact of a job, however often they are delivered. */
export function factKey(type: Fact['type'], jobId: string): string {
  return `${type}:${jobId}`;
}

/** The terminal fact of a job that ended without having used anything. */
export function unusedCompletion(
  job: Pick<CompletedFact, 'jobId' | 'tenantId' | 'apiKeyId' | 'model' | 'class'>,
  end: Pick<CompletedFact, 'state' | 'error' | 'attempt' | 'finishedAtMs'>,
): CompletedFact {
  const { jobId, tenantId, apiKeyId, model } = job;
  return { jobId, tenantId, apiKeyId, model, class: job.class, ...end, usage: NO_USAGE };
}

/** A completed fact as a message to the `results` queue. */
export function completedMessageOf(fact: CompletedFact): OutgoingMessage {
  return {
    exchange: EXCHANGES.results,
    routingKey: MESSAGE_TYPES.completed,
    type: MESSAGE_TYPES.completed,
    messageId: fact.jobId,
    body: Buffer.from(JSON.stringify(fact)),
  };
}

function decodeAccepted(body: Buffer): Decoded {
  const parsed = parse(body, acceptedMessageSchema);
  if ('problem' in parsed) return parsed;
  const { input: _input, ...message } = parsed.message;
  return { fact: { type: 'accepted', message } };
}

function decodeCompleted(body: Buffer): Decoded {
  const parsed = parse(body, completedMessageSchema);
  return 'problem' in parsed ? parsed : { fact: { type: 'completed', message: parsed.message } };
}

/** Reads a body by a schema; a body that cannot be read gives a problem like `decodeFact` does. */
export function parse<Schema extends z.ZodType>(
  body: Buffer,
  schema: Schema,
): { readonly message: z.output<Schema> } | { readonly problem: string } {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    return malformed('body', 'is not valid JSON');
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return { message: parsed.data };
  const issue = parsed.error.issues[0];
  return malformed(issue?.path.join('.') || 'body', issue?.message ?? 'is invalid');
}

function malformed(field: string, reason: string): { readonly problem: string } {
  return { problem: `malformed_message: ${field}: ${reason}`.slice(0, MAX_PROBLEM_LENGTH) };
}
