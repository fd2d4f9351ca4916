import { randomUUID } from 'node:crypto';
import {
  createFence,
  createFenceMember,
  createPublisher,
  type BrokerConnection,
  type BrokerMetrics,
  type Consumer,
  type Fence,
  type FenceMember,
  type Publisher,
} from '@sluice/broker';
import type { Logger } from '@sluice/runtime';
import type { Config } from './config.js';
import { registryOf } from './fence-registry.js';
import type { CollectorServers } from './servers.js';

const PUBLISH_DEADLINE_MS = 10_000;
/** More than the events of all batches in progress. */
const EVENTS_IN_FLIGHT = 16_384;

export interface MessagingOptions {
  readonly config: Config;
  readonly servers: CollectorServers;
  readonly broker: BrokerMetrics;
  /** Consumes `results`; asked once the member has started. */
  readonly results: () => Consumer;
  readonly logger: Logger;
}

/** A collector's connections to RabbitMQ, and what talks to other members of the suite over them. */
export interface Messaging {
  readonly consuming: BrokerConnection;
  readonly publishing: BrokerConnection;
  readonly publisher: Publisher;
  /** Beside the other, so that events do not take its window. */
  readonly eventPublisher: Publisher;
  /** Tells fences what this collector holds. */
  readonly member: FenceMember;
  readonly fence: Fence;
}

export function createMessaging({ config, servers, broker, results, logger }: MessagingOptions): Messaging {
  const consuming = servers.connect('consume');
  const publishing = servers.connect('publish');
  const publisher = createPublisher({
    ...{ connection: publishing, deadlineMs: PUBLISH_DEADLINE_MS, logger },
    observer: broker.observer('results'),
  });
  const eventPublisher = createPublisher({
    ...{ connection: publishing, deadlineMs: PUBLISH_DEADLINE_MS, maxInFlight: EVENTS_IN_FLIGHT },
    observer: broker.observer('events'),
    logger: logger.child({ part: 'events' }),
  });
  broker.watch({ connections: { consuming, publishing }, publishers: { results: publisher, events: eventPublisher } });
  const registry = registryOf(servers.store);
  return {
    ...{ consuming, publishing, publisher, eventPublisher },
    member: createFenceMember({
      ...{ connection: consuming, publisher, registry, logger },
      memberId: randomUUID(),
      role: 'collector',
      barrier: () => results().barrier(),
      generation: () => results().generation,
      attached: () => results().attached,
    }),
    fence: createFence({ connection: publishing, publisher, registry, timeoutMs: config.fenceTimeoutMs, logger }),
  };
}
