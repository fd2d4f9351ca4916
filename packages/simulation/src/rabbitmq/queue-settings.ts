import { NotSimulated, preconditionFailed } from './broker-error.js';
import type { ClientMethods, Table } from './frames.js';

/** What a queue was declared with. */
export interface QueueSettings {
  readonly durable: boolean;
  readonly exclusive: boolean;
  readonly autoDelete: boolean;
  readonly quorum: boolean;
  /** Milliseconds. */
  readonly ttlMs: number | undefined;
  readonly maxLength: number | undefined;
  readonly rejectsPublishes: boolean;
  /** More deliveries than this plus one, and the message is dead. */
  readonly deliveryLimit: number | undefined;
  readonly deadLetterExchange: string | undefined;
  readonly deadLetterKey: string | undefined;
  /** A dead message stays until its copy is in a queue. */
  readonly deadLettersSafely: boolean;
  /** The arguments as text, to compare declarations. */
  readonly fingerprint: string;
}

const KNOWN = [
  'x-queue-type',
  'x-message-ttl',
  'x-max-length',
  'x-overflow',
  'x-delivery-limit',
  'x-dead-letter-exchange',
  'x-dead-letter-routing-key',
  'x-dead-letter-strategy',
];
const isKnown = new Set(KNOWN);

/** Reads a declaration. Throws 406 for what RabbitMQ refuses, NotSimulated for what the simulation lacks. */
export function queueSettings(declared: ClientMethods['QueueDeclare'], given: Table): QueueSettings {
  const unknown = Object.keys(given).find((name) => !isKnown.has(name));
  if (unknown !== undefined) throw new NotSimulated(`argument ${unknown}`);
  const { durable, exclusive, autoDelete } = declared;
  const quorum = given['x-queue-type'] === 'quorum';
  if (quorum && (!durable || exclusive || autoDelete))
    throw preconditionFailed(`invalid property for queue '${declared.queue}' of type rabbit_quorum_queue`);
  const rejectsPublishes = given['x-overflow'] === 'reject-publish';
  return {
    ...{ durable, exclusive, autoDelete, quorum, rejectsPublishes },
    ttlMs: given['x-message-ttl'] as number | undefined,
    maxLength: given['x-max-length'] as number | undefined,
    deliveryLimit: quorum ? (given['x-delivery-limit'] as number | undefined) : undefined,
    deadLetterExchange: given['x-dead-letter-exchange'] as string | undefined,
    deadLetterKey: given['x-dead-letter-routing-key'] as string | undefined,
    deadLettersSafely: quorum && rejectsPublishes && given['x-dead-letter-strategy'] === 'at-least-once',
    fingerprint: KNOWN.reduce(
      (text, name) => `${text}|${String(given[name])}`,
      `${durable}|${exclusive}|${autoDelete}`,
    ),
  };
}
