import type { Delivery } from '@sluice/broker';
import { newJobId, MESSAGE_TYPES, type AcceptedMessage, type CompletedMessage } from '@sluice/contracts';

const API_KEY_ID = '0190b5a0-0000-4000-8000-000000000001';

/** An accepted job of 10 input tokens. */
export function acceptedMessage(changes: Partial<AcceptedMessage> = {}): AcceptedMessage {
  return {
    jobId: newJobId(),
    tenantId: 'acme',
    apiKeyId: API_KEY_ID,
    model: 'use-lite-en',
    class: 'standard',
    input: 'hello',
    inputTokens: 10,
    maxOutputTokens: 0,
    reservedTokens: 10,
    reservedNanoUsd: 0,
    expiresAtMs: Date.now() + 600_000,
    ...changes,
  };
}

/** The success of an accepted job that used what it held. */
export function completedMessage(job: AcceptedMessage, changes: Partial<CompletedMessage> = {}): CompletedMessage {
  return {
    jobId: job.jobId,
    tenantId: job.tenantId,
    apiKeyId: job.apiKeyId,
    model: job.model,
    class: job.class,
    state: 'succeeded',
    usage: { inputTokens: job.inputTokens, outputTokens: 0, cachedTokens: 0 },
    modelVersion: '1',
    attempt: 1,
    startedAtMs: Date.now(),
    finishedAtMs: Date.now(),
    ...changes,
  };
}

/** A message as it is on the wire. */
export function onTheWire(message: AcceptedMessage | CompletedMessage): { type: string; body: Buffer } {
  return {
    type: 'state' in message ? MESSAGE_TYPES.completed : MESSAGE_TYPES.accepted,
    body: Buffer.from(JSON.stringify(message)),
  };
}

/** A message as a handler sees it. */
export function delivered(changes: Partial<Delivery>): Delivery {
  return {
    body: Buffer.alloc(0),
    type: '',
    messageId: '',
    userId: '',
    replyTo: '',
    correlationId: '',
    contentType: '',
    routingKey: 'test',
    exchange: 'results',
    queue: 'results',
    attempt: 1,
    redelivered: false,
    headers: {},
    ...changes,
  };
}
