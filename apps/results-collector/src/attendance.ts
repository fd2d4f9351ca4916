import type { Consumer } from '@sluice/broker';
import type { Logger } from '@sluice/runtime';
import { createPeriodic } from './periodic.js';

export interface AttendanceOptions {
  /** Makes a consumer whose handler answers `giveBack` once the signal aborts; it is used until it is stopped. */
  readonly open: (signal: AbortSignal) => Consumer;
  /** The servers that the handler needs answer. */
  readonly able: () => boolean;
  /** For how long they may be away before the deliveries are given back, in milliseconds. */
  readonly patienceMs: number;
  /** Between two looks, in milliseconds. */
  readonly intervalMs: number;
  /** Unix milliseconds. */
  readonly now: () => number;
  readonly logger: Logger;
}

/**
 * Consumes a queue while its deliveries can be worked on. When the servers they need have been away for too long, the
 * deliveries go back to the queue and no more are taken: perhaps only this program is cut off, and another one can take
 * them. Comes back with the servers.
 *
 * ```
 * attending ─(away for patienceMs)─▶ absent ─(they answer)─▶ attending
 * ```
 *
 * n.b. every return costs each delivery one of those that the queue allows. Servers that answer but refuse the work
 * are away for everybody, and are waited for.
 */
export function createAttendance(options: AttendanceOptions): Consumer {
  const { open, able, patienceMs, intervalMs, now, logger } = options;
  let attending = true;
  let awaySinceMs: number | undefined;
  let leaving = new AbortController();
  let consumer = open(leaving.signal);

  async function leave(): Promise<void> {
    logger.warn({ awayForMs: patienceMs }, 'servers stay away, what waited for them goes back to the queue');
    attending = false;
    const stopped = consumer.stop();
    leaving.abort();
    await stopped;
  }

  async function comeBack(): Promise<void> {
    logger.info('the servers answer again, consuming');
    leaving = new AbortController();
    consumer = open(leaving.signal);
    attending = true;
    await consumer.start();
  }

  const watch = createPeriodic({
    name: 'attendance',
    intervalMs,
    async run(halted) {
      if (able()) {
        awaySinceMs = undefined;
        if (!attending && !halted.aborted) await comeBack();
        return;
      }
      awaySinceMs ??= now();
      if (attending && now() - awaySinceMs >= patienceMs) await leave();
    },
    logger,
  });

  return {
    get attached() {
      return consumer.attached;
    },
    get inFlight() {
      return consumer.inFlight;
    },
    get lastProgressAtMs() {
      return consumer.lastProgressAtMs;
    },
    async start() {
      await consumer.start();
      await watch.start();
    },
    async stop() {
      const halted = watch.stop();
      await consumer.stop();
      await halted;
    },
  };
}
