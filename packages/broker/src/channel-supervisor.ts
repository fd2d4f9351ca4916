import type { Channel, ChannelModel } from 'amqplib';
import { delay, withDeadline, type Logger, type Service } from '@sluice/runtime';
import { createBackoff } from './backoff.js';
import { unavailable } from './broker-errors.js';
import { closeWithin, closing } from './closing.js';
import type { BrokerConnection } from './connection.js';

const REOPEN = { firstMs: 50, maxMs: 2_000 };
const CLOSE_TIMEOUT_MS = 3_000;
const START_TIMEOUT_MS = 30_000;

export interface ChannelSupervisorOptions<C extends Channel> {
  readonly connection: BrokerConnection;
  readonly logger: Logger;
  readonly create: (model: ChannelModel) => Promise<C>;
  /** Sets a new channel up; when it fails the channel is closed and another one is opened. */
  readonly onOpen: (channel: C) => Promise<void> | void;
  /** The channel is gone, and with it whatever was not answered on it. Called once for every `onOpen`. */
  readonly onLost: (reason: Error | undefined) => void;
}

/**
 * Keeps one channel open: opens it whenever the connection is there, sets it up, and starts over when it closes for
 * whatever reason (an error of the broker closes the channel but not the connection). Before each new try the
 * connection's declarations run again, because a missing queue or exchange may be the reason.
 *
 * `start` resolves when the channel is set up for the first time and rejects with `broker_unavailable` when that takes
 * longer than 30 s; the tries go on until `stop`.
 */
export function createChannelSupervisor<C extends Channel>(options: ChannelSupervisorOptions<C>): Service {
  const { connection, logger, create, onOpen, onLost } = options;
  const halt = new AbortController();
  let current: { readonly channel: C; readonly closed: Promise<unknown> } | undefined;
  let markOpen: () => void;
  const firstOpen = new Promise<void>((resolve) => (markOpen = resolve));
  let abandon: () => void;
  const abandoned = new Promise<undefined>((resolve) => (abandon = () => resolve(undefined)));
  let lastError: unknown;
  let running: Promise<void> | undefined;
  let stopping: Promise<void> | undefined;

  async function run(): Promise<void> {
    const backoff = createBackoff(REOPEN);
    while (!halt.signal.aborted) {
      const beganMs = performance.now();
      let lived = false;
      lastError = await hold(() => (lived = true)).catch((error: unknown) => error);
      if (halt.signal.aborted) return;
      logger.warn({ err: lastError }, 'the channel is closed, opening another');
      await delay(backoff.next(lived ? performance.now() - beganMs : 0), halt.signal);
      if (connection.state !== 'disconnected') await connection.restore();
    }
  }

  /** Opens a channel and resolves with the reason when it is lost. */
  async function hold(onHeld: () => void): Promise<Error | undefined> {
    const fresh = await create(await connection.open(halt.signal));
    const closed = closing(fresh);
    let reason: Error | undefined;
    current = { channel: fresh, closed };
    try {
      await onOpen(fresh);
      onHeld();
      markOpen();
      if (halt.signal.aborted) await closeWithin(fresh, closed, CLOSE_TIMEOUT_MS);
      reason = await Promise.race([closed, abandoned]);
    } catch (error) {
      reason = error instanceof Error ? error : new Error(String(error));
      await closeWithin(fresh, closed, CLOSE_TIMEOUT_MS);
    } finally {
      current = undefined;
      onLost(reason);
    }
    return reason;
  }

  return {
    start() {
      running ??= run();
      const halted = new Promise<never>((_, reject) => {
        const stopped = (): void => reject(unavailable('The channel was stopped before it was open.'));
        if (halt.signal.aborted) stopped();
        else halt.signal.addEventListener('abort', stopped, { once: true });
      });
      return withDeadline(Promise.race([firstOpen, halted]), START_TIMEOUT_MS, () =>
        unavailable(`No channel could be set up within ${START_TIMEOUT_MS} ms.`, lastError),
      );
    },
    stop() {
      stopping ??= (async () => {
        halt.abort();
        if (current) await closeWithin(current.channel, current.closed, CLOSE_TIMEOUT_MS);
        abandon();
        await running;
      })();
      return stopping;
    },
  };
}
