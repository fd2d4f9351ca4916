import { randomUUID } from 'node:crypto';
import { EXCHANGES, MESSAGE_TYPES, type ClockMessage } from '@sluice/contracts';
import type { OutgoingMessage, Publisher } from '@sluice/broker';
import type { RedisServer } from '@sluice/quota';
import { delay, type Logger, type Service } from '@sluice/runtime';
import type { JobClock } from './job-clock.js';

export interface ClockNoticesOptions {
  readonly redis: Pick<RedisServer, 'nowMs'>;
  /** Is set as well, so that the clock of a gateway with nothing to do stays right. */
  readonly clock: Pick<JobClock, 'observe'>;
  readonly publisher: Pick<Publisher, 'publish'>;
  /** Between two notices, in milliseconds. */
  readonly intervalMs: number;
  readonly logger: Logger;
}

/**
 * Tells every worker again and again what the clock of Redis shows, as Redis itself said it: by the time that a worker
 * reads a notice it is later, never earlier. Nothing is told while Redis or the broker is away.
 */
export function createClockNotices(options: ClockNoticesOptions): Service {
  const { redis, clock, publisher, intervalMs, logger } = options;
  const halt = new AbortController();
  let running: Promise<void> | undefined;

  async function tell(): Promise<void> {
    const sentAtMs = performance.now();
    const redisNowMs = await redis.nowMs();
    clock.observe(redisNowMs, sentAtMs);
    await publisher.publish(toOutgoing({ redisNowMs: Math.floor(redisNowMs) }));
  }

  async function run(): Promise<void> {
    while (!halt.signal.aborted) {
      await tell().catch((error: unknown) => logger.debug({ err: error }, 'workers were not told the time'));
      await delay(intervalMs, halt.signal);
    }
  }

  return {
    start() {
      running ??= run();
      return Promise.resolve();
    },
    async stop() {
      halt.abort();
      await running;
    },
  };
}

function toOutgoing(message: ClockMessage): OutgoingMessage {
  return {
    exchange: EXCHANGES.cancellations,
    routingKey: '',
    type: MESSAGE_TYPES.clock,
    messageId: randomUUID(),
    body: Buffer.from(JSON.stringify(message)),
    // There may be no worker.
    mandatory: false,
  };
}
