import type { Delivery, OutgoingMessage } from '@sluice/broker';
import { CONTENT_TYPES, INGEST_TYPES, toProblem, type ServiceError } from '@sluice/contracts';
import type { JobView } from './job-view.js';

/** What a submission over AMQP comes to. */
export type Answer =
  { readonly kind: 'accepted'; readonly job: JobView } | { readonly kind: 'refused'; readonly error: ServiceError };

type Asked = Pick<Delivery, 'replyTo' | 'correlationId' | 'messageId'>;

/** The message that tells a producer; by the default exchange into the queue that it named. */
export function replyMessage({ replyTo, correlationId, messageId }: Asked, answer: Answer): OutgoingMessage {
  const [type, contentType, content] =
    answer.kind === 'accepted'
      ? [INGEST_TYPES.accepted, CONTENT_TYPES.json, answer.job]
      : [INGEST_TYPES.refused, CONTENT_TYPES.problem, problemOf(answer.error)];
  return {
    exchange: '',
    routingKey: replyTo,
    type,
    contentType,
    body: Buffer.from(JSON.stringify(content)),
    // n.b. the publisher knows a returned message by its id, so it never is empty.
    messageId: messageId || type,
    correlationId: correlationId || messageId,
  };
}

/** What the log tells of a refusal: nothing of what tenants wrote but the names of fields. */
export function refusalFacts({ code, fields }: ServiceError) {
  return { code, fields: fields.map(({ field }) => field) };
}

/** What HTTP says by `Retry-After` is in the document here. */
function problemOf(error: ServiceError) {
  const { retryAfterSeconds } = error;
  return { ...toProblem(error), ...(retryAfterSeconds !== undefined && { retryAfterSeconds }) };
}
