import type { BrokerConnection } from '@sluice/broker';
import { QUEUES } from '@sluice/contracts';
import type { Logger, Service } from '@sluice/runtime';
import { createPeriodic } from './periodic.js';

export interface QueueDepthsOptions {
  readonly connection: Pick<BrokerConnection, 'use'>;
  /** Between two looks, in milliseconds. */
  readonly intervalMs: number;
  readonly onDepths: (depths: Readonly<Record<'dead' | 'unrouted', number>>) => void;
  readonly logger: Logger;
}

/** Looks regularly how many messages nobody has taken yet wait in the queues of what could not be processed. */
export function createQueueDepths({ connection, intervalMs, onDepths, logger }: QueueDepthsOptions): Service {
  async function look(): Promise<void> {
    const depths = await connection.use(async (channel) => {
      const dead = await channel.checkQueue(QUEUES.dead);
      const unrouted = await channel.checkQueue(QUEUES.unrouted);
      return { dead: dead.messageCount, unrouted: unrouted.messageCount };
    });
    onDepths(depths);
  }
  return createPeriodic({ name: 'queue depths', intervalMs, run: look, logger });
}
