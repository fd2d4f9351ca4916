/** An error of the broker that closes the channel it happened on, as `channel.close` tells it. */
export class ChannelError extends Error {
  constructor(
    readonly code: number,
    text: string,
  ) {
    super(text);
  }
}

export function notFound(kind: 'queue' | 'exchange', name: string): ChannelError {
  return new ChannelError(404, `NOT_FOUND - no ${kind} '${name}' in vhost '/'`);
}

export function preconditionFailed(text: string): ChannelError {
  return new ChannelError(406, `PRECONDITION_FAILED - ${text}`);
}

export function resourceLocked(queue: string): ChannelError {
  return new ChannelError(405, `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${queue}'`);
}

export function accessRefused(text: string): ChannelError {
  return new ChannelError(403, `ACCESS_REFUSED - ${text}`);
}

/** Something was asked for that RabbitMQ has and this simulation does not: the simulation is wrong, not the caller. */
export class NotSimulated extends Error {
  constructor(what: string) {
    super(`The simulated RabbitMQ has no ${what}.`);
  }
}
