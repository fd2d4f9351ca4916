import type { EventEmitter } from 'node:events';

/**
 * Resolves when a connection or channel of amqplib has closed, with the reason where there is one. Call it at once
 * after opening: amqplib emits `error`, which without a listener would end the process.
 */
export function closing(emitter: EventEmitter): Promise<Error | undefined> {
  return new Promise((resolve) => {
    let reason: Error | undefined;
    emitter.on('error', (error: Error) => {
      reason ??= error;
    });
    // n.b. a connection that an operator closes emits no `error`; its reason comes with `close`.
    emitter.once('close', (error?: Error) => resolve(reason ?? error));
  });
}
