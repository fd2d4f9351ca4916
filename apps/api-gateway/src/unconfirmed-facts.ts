import { setMaxListeners } from 'node:events';
import { EXCHANGES, MESSAGE_TYPES, type AcceptedMessage } from '@sluice/contracts';
import type { Publisher } from '@sluice/broker';
import { delay, type Logger } from '@sluice/runtime';

export interface UnconfirmedFactsOptions {
  readonly publisher: Pick<Publisher, 'publish'>;
  readonly logger: Logger;
}

export interface UnconfirmedFacts {
  /** Takes the job of a publish without a known outcome. */
  add(message: AcceptedMessage): void;
  /** Resolves when the facts of the jobs taken so far are in the queue `results`, or given up by `stop`. */
  drain(): Promise<void>;
  /** Facts still to be published. */
  readonly size: number;
  /** Tries once more, then gives up. */
  stop(): Promise<void>;
}

const RETRY_DELAY_MS = 500;
/** Beyond this many it is left to the jobs' ends to bring the facts along. */
const MAX_FACTS = 10_000;

/**
 * Sees to it that a job which may be queued is known to the records.
 *
 * A broker that dies in the midst of a publish may have kept the work and lost the fact. The job then runs although nobody
 * knows of it before its end, and whoever loads the tenant meanwhile takes its hold and its key for those of a job that never was.
 * So the fact alone is published again until it is confirmed. When there is no work after all, the job expires, unbilled.
 */
export function createUnconfirmedFacts({ publisher, logger }: UnconfirmedFactsOptions): UnconfirmedFacts {
  const waiting = new Map<string, Promise<void>>();
  const stopping = new AbortController();
  // Each fact that waits listens to it.
  setMaxListeners(0, stopping.signal);

  /** n.b. it does not go to `submissions`: whether the work is done a second time is the client's to say. */
  function publish(message: AcceptedMessage): Promise<void> {
    return publisher.publish({
      exchange: EXCHANGES.results,
      routingKey: MESSAGE_TYPES.accepted,
      body: Buffer.from(JSON.stringify(message)),
      type: MESSAGE_TYPES.accepted,
      messageId: message.jobId,
    });
  }

  async function publishUntilConfirmed(message: AcceptedMessage): Promise<void> {
    for (;;) {
      const last = stopping.signal.aborted;
      try {
        return await publish(message);
      } catch (error) {
        if (last) {
          logger.warn({ err: error, jobId: message.jobId }, 'it stays unknown whether a job is queued and recorded');
          return;
        }
        await delay(RETRY_DELAY_MS, stopping.signal);
      }
    }
  }

  return {
    get size() {
      return waiting.size;
    },
    add(message) {
      if (waiting.has(message.jobId) || waiting.size >= MAX_FACTS) return;
      // The records do not keep the input, and it may be large.
      const published = publishUntilConfirmed({ ...message, input: '' });
      waiting.set(
        message.jobId,
        published.finally(() => waiting.delete(message.jobId)),
      );
    },
    async drain() {
      await Promise.all(waiting.values());
    },
    async stop() {
      stopping.abort();
      await Promise.all(waiting.values());
    },
  };
}
