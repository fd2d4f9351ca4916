import type { EventEmitter } from 'node:events';
import { withDeadline } from '@sluice/runtime';

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

/**
 * Closes a connection or channel of amqplib politely, at most for `timeoutMs`. Resolves when it is closed, lost or given
 * up; never rejects. `closed` is what `closing` gave: n.b. amqplib never settles `close()` when the wire breaks meanwhile.
 */
export async function closeWithin(
  closable: { close(): Promise<void> },
  closed: Promise<unknown>,
  timeoutMs: number,
): Promise<void> {
  const either = Promise.race([closable.close(), closed]);
  await withDeadline(either, timeoutMs, () => new Error('no answer')).catch(() => undefined);
}
