import { ServiceError } from '@sluice/contracts';

/** `broker_unavailable`: the message is certainly in no queue. */
export function unavailable(detail: string, cause?: unknown): ServiceError {
  return new ServiceError('broker_unavailable', detail, { cause, retryAfterSeconds: 1 });
}

/** `publish_unconfirmed`: the message was sent, and nobody knows whether it is in a queue. */
export function unconfirmed(detail: string, cause?: unknown): ServiceError {
  return new ServiceError('publish_unconfirmed', detail, { cause, retryAfterSeconds: 1 });
}
