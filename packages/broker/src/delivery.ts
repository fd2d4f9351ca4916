import type { ConsumeMessage } from 'amqplib';
import { HEADERS } from '@sluice/contracts';

/** Attempts are counted up to here; a job's record holds no more. */
export const HIGHEST_ATTEMPT = 1000;

/** A message as a handler sees it. Anyone with access to the broker may have written it: nothing but the types and `userId` is sure. */
export interface Delivery {
  readonly body: Buffer;
  /** AMQP `type` property; empty when absent. */
  readonly type: string;
  /** Empty when absent. */
  readonly messageId: string;
  /**
   * The broker's user that published it; empty when absent. The one thing that is sure: the broker refuses a publish
   * that names another user than its connection's.
   */
  readonly userId: string;
  /** Queue that an answer is wanted in; empty when absent. */
  readonly replyTo: string;
  /** What the answer is to be known by; empty when absent. */
  readonly correlationId: string;
  /** Media type of the body; empty when absent. */
  readonly contentType: string;
  readonly routingKey: string;
  readonly exchange: string;
  readonly queue: string;
  /** 1 … 1000, from the `x-attempt` header; 1 when that is absent or not such a number. */
  readonly attempt: number;
  /** The broker delivered it before, to somebody who did not settle it. */
  readonly redelivered: boolean;
  readonly headers: Readonly<Record<string, unknown>>;
}

export function toDelivery(message: ConsumeMessage, queue: string): Delivery {
  const { fields, properties } = message;
  const headers: Readonly<Record<string, unknown>> = properties.headers ?? {};
  return {
    body: message.content,
    type: text(properties.type),
    messageId: text(properties.messageId),
    userId: text(properties.userId),
    replyTo: text(properties.replyTo),
    correlationId: text(properties.correlationId),
    contentType: text(properties.contentType),
    routingKey: fields.routingKey,
    exchange: fields.exchange,
    queue,
    attempt: attemptOf(headers),
    redelivered: fields.redelivered,
    headers,
  };
}

function attemptOf(headers: Readonly<Record<string, unknown>>): number {
  const value = headers[HEADERS.attempt];
  const valid = typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= HIGHEST_ATTEMPT;
  return valid ? value : 1;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** The broker's own bookkeeping; 3.x would take it from a republished message for its own, 4.x ignores it. */
const BROKER_HEADER = /^x-(first-death-|last-death-|death$|delivery-count$|acquired-count$)/;

/** The headers that a copy of the message keeps: texts and numbers that are not the broker's. */
export function keptHeaders(headers: Readonly<Record<string, unknown>>): Record<string, string | number> {
  const kept: Record<string, string | number> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (BROKER_HEADER.test(name)) continue;
    if (typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value))) kept[name] = value;
  }
  return kept;
}
