import { ServiceError } from '@sluice/contracts';

/** `broker_unavailable`: the message is certainly in no queue. */
export function unavailable(detail: string, cause?: unknown): ServiceError {
  return new ServiceError('broker_unavailable', detail, { cause, retryAfterSeconds: 1 });
}

/** `broker_unavailable` because no queue is bound where the message went: certainly in no queue. */
export class UnroutableError extends ServiceError {
  constructor() {
    super('broker_unavailable', 'No queue exists for the message.', { retryAfterSeconds: 1 });
  }
}

/** `publish_unconfirmed`: the message was sent, and nobody knows whether it is in a queue. */
export function unconfirmed(detail: string, cause?: unknown): ServiceError {
  return new ServiceError('publish_unconfirmed', detail, { cause, retryAfterSeconds: 1 });
}
