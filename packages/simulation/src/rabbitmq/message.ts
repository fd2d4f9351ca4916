import type { Content } from './frames.js';

/** A message as an exchange took it. */
export interface Message {
  readonly exchange: string;
  readonly routingKey: string;
  readonly content: Content;
}

/** A message in one queue. */
export interface Entry {
  readonly message: Message;
  /** Its place: the order in which the queue took messages. */
  readonly place: number;
  /** Deliveries that were not settled; more than none means `redelivered`. */
  returns: number;
  /** `Kernel.elapsedMs` after which it is dead at the head of the queue; undefined for never. */
  readonly expiresAtMs: number | undefined;
}
