import type { SpanOptions } from './tracer.js';

/** A message, as spans about it tell. */
export interface MessageFacts {
  /** The exchange, or the queue of a consumer. */
  readonly destination: string;
  /** Not told when empty. */
  readonly routingKey?: string | undefined;
  /** Not told when empty. */
  readonly messageId?: string | undefined;
  /** Bytes. */
  readonly size?: number | undefined;
}

/**
 * A span of sending or processing a message, by the conventions for messaging.
 *
 * n.b. `messaging.system` was renamed in 2026; many backends know the older name only.
 */
export function messageSpan(operation: 'send' | 'process', facts: MessageFacts): SpanOptions {
  const { destination, routingKey, messageId, size } = facts;
  return {
    kind: operation === 'send' ? 'producer' : 'consumer',
    attributes: {
      'messaging.system.name': 'rabbitmq',
      'messaging.system': 'rabbitmq',
      'messaging.operation.type': operation,
      'messaging.operation.name': operation,
      'messaging.destination.name': destination,
      ...(routingKey && { 'messaging.rabbitmq.destination.routing_key': routingKey }),
      ...(messageId && { 'messaging.message.id': messageId }),
      ...(size !== undefined && { 'messaging.message.body.size': size }),
    },
  };
}

/** A span of a call to a database, by the conventions for those; `calls` are the statements or commands in one round trip. */
export function databaseSpan(system: 'postgresql' | 'redis', operation: string, calls?: number): SpanOptions {
  return {
    kind: 'client',
    attributes: {
      'db.system.name': system,
      'db.operation.name': operation,
      ...(calls !== undefined && calls > 1 && { 'db.operation.batch.size': calls }),
    },
  };
}
