import type { Consumer } from '@sluice/broker';
import type { Logger } from '@sluice/runtime';
import { createPeriodic } from './periodic.js';

export interface AttendanceOptions {
  /** Makes a consumer whose handler answers `giveBack` once the signal aborts; it is used until it is stopped. */
  readonly open: (signal: AbortSignal) => Consumer;
  /** The servers that the handler needs answer. */
  readonly able: () => boolean;
  /** False while nobody could ask this program what it holds: then nothing is taken for the first time. */
  readonly mayBegin: () => boolean;
  /** For how long the servers may be away before the deliveries are given back, in milliseconds. */
  readonly patienceMs: number;
  /** Between two looks, in milliseconds. */
  readonly intervalMs: number;
  /** Milliseconds of a clock that is never set. */
  readonly monotonicMs: () => number;
  readonly logger: Logger;
}

/**
 * Consumes a queue while its deliveries can be worked on. When the servers they need have been away for too long, the
 * deliveries go back to the queue and no more are taken: perhaps only this program is cut off, and another one can take
 * them. Comes back with the servers.
 *
 * ```
 * waiting ─(may begin)─▶ attending ─(away for patienceMs)─▶ absent ─(they answer)─▶ attending
 * ```
 *
 * n.b. every return costs each delivery one of those that the queue allows. Servers that answer but refuse the work
 * are away for everybody, and are waited for.
 */
export function createAttendance(options: AttendanceOptions): Consumer {
  const { open, able, mayBegin, patienceMs, intervalMs, monotonicMs, logger } = options;
  const createdAtMs = monotonicMs();
  let attending = false;
  let awaySinceMs: number | undefined;
  let leaving = new AbortController();
  let left: Promise<void> = Promise.resolve();
  let consumer: Consumer | undefined;
  /** Of the consumers before this one: whoever compares generations must see each change of consumer. */
  let pastGenerations = 0;

  async function begin(): Promise<void> {
    pastGenerations += consumer === undefined ? 0 : consumer.generation + 1;
    leaving = new AbortController();
    consumer = open(leaving.signal);
    attending = true;
    await consumer.start();
  }

  async function leave(): Promise<void> {
    logger.warn({ awayForMs: patienceMs }, 'servers stay away, what waited for them goes back to the queue');
    attending = false;
    left = consumer?.stop() ?? Promise.resolve();
    leaving.abort();
    await left;
  }

  async function look(halted: AbortSignal): Promise<void> {
    if (!attending) {
      const back = consumer === undefined || able();
      if (!back || !mayBegin() || halted.aborted) return;
      if (consumer) logger.info('the servers answer again, consuming');
      awaySinceMs = undefined;
      return begin();
    }
    awaySinceMs = able() ? undefined : (awaySinceMs ?? monotonicMs());
    if (awaySinceMs !== undefined && monotonicMs() - awaySinceMs >= patienceMs) await leave();
  }

  const watch = createPeriodic({ name: 'attendance', intervalMs, run: look, logger });

  return {
    get attached() {
      return attending && consumer?.attached === true;
    },
    get inFlight() {
      return consumer?.inFlight ?? 0;
    },
    get lastProgressAtMs() {
      return consumer?.lastProgressAtMs ?? createdAtMs;
    },
    get generation() {
      return pastGenerations + (consumer?.generation ?? 0);
    },
    async barrier() {
      // Once it has left, everything went back to the queue, which the generation tells.
      await (attending ? consumer?.barrier() : left);
    },
    async start() {
      if (mayBegin()) await begin();
      await watch.start();
    },
    async stop() {
      const halted = watch.stop();
      await consumer?.stop();
      await halted;
    },
  };
}
