import { messageSpan, within, type Trace } from '@sluice/telemetry';
import type { OutgoingMessage, Publisher, PublishOptions } from './publisher.js';

/**
 * Publishes a message as a part of a trace: whoever receives it finds in its headers where to go on. Without a trace it is just published.
 * Rejects like `Publisher.publish`.
 */
export function publishIn(
  trace: Trace | undefined,
  publisher: Pick<Publisher, 'publish'>,
  message: OutgoingMessage,
  options?: PublishOptions,
): Promise<void> {
  if (trace === undefined) return publisher.publish(message, options);
  const { exchange, routingKey, messageId, body } = message;
  // n.b. what goes by the default exchange is an answer: its routing key is the queue that the asking service named, its id the one that
  // service chose, and spans hold nothing of what others wrote.
  const isReply = exchange === '';
  const destination = isReply ? 'reply' : exchange;
  const send = (headers: Trace['headers']): Promise<void> =>
    publisher.publish({ ...message, headers: { ...message.headers, ...headers } }, options);
  if (trace.span === undefined) return send(trace.headers);
  const facts = { destination, size: body.length, ...(!isReply && { routingKey, messageId }) };
  return within(
    trace.span,
    `send ${destination}`,
    (part) => send(part?.headers ?? trace.headers),
    messageSpan('send', facts),
  );
}
