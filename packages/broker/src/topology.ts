import type { Channel } from 'amqplib';
import {
  DELIVERY_LIMIT,
  EXCHANGES,
  QUEUES,
  RETRY_TIERS,
  routingKey,
  workQueue,
  type JobClass,
} from '@sluice/contracts';
import type { BrokerConnection } from './connection.js';
import type { RetryTier } from './settlement.js';

/**
 * Deliveries of a fact, or of another service's submission, before the broker moves it to the dead queue. Much higher
 * than for jobs: a collector that is killed again and again returns facts that are not at fault, and a fact in the dead
 * queue is missing in the books.
 */
export const FACT_DELIVERY_LIMIT = 100;

/** For queues with nowhere to move a message to: 4.x would drop it after its default of 20, and 3.10 takes no "never". */
const PRACTICALLY_UNLIMITED = 1_000_000_000;

export interface Topology {
  readonly pools: Readonly<Record<string, { readonly classes: readonly JobClass[] }>>;
  /** The tiers of the contracts when absent. */
  readonly retryTiers?: readonly RetryTier[];
}

/**
 * Declares every exchange, queue and binding of the suite, and keeps the declaration with the connection, which runs
 * it again after each reconnect and whenever a channel of the connection was closed. Idempotent.
 *
 * Rejects with `broker_unavailable` when not connected, and with the broker's own error when an object exists with
 * other settings (406) or the user may not declare (403).
 */
export async function declareTopology(connection: BrokerConnection, topology: Topology): Promise<void> {
  const { pools, retryTiers = RETRY_TIERS } = topology;
  await connection.declare(`topology ${JSON.stringify([pools, retryTiers])}`, async (channel) => {
    await declareExchanges(channel, retryTiers);
    await declareSharedQueues(channel);
    for (const tier of retryTiers) await declareRetryTier(channel, tier);
    for (const [pool, { classes }] of Object.entries(pools))
      for (const jobClass of classes) await declareWorkQueue(channel, pool, jobClass);
  });
}

async function declareExchanges(channel: Channel, retryTiers: readonly RetryTier[]): Promise<void> {
  await channel.assertExchange(EXCHANGES.unrouted, 'fanout');
  await channel.assertExchange(EXCHANGES.dead, 'fanout');
  await channel.assertExchange(EXCHANGES.submissions, 'fanout');
  await channel.assertExchange(EXCHANGES.results, 'topic');
  await channel.assertExchange(EXCHANGES.ingest, 'topic');
  await channel.assertExchange(EXCHANGES.events, 'topic');
  await channel.assertExchange(EXCHANGES.cancellations, 'fanout');
  await channel.assertExchange(EXCHANGES.jobs, 'topic', { alternateExchange: EXCHANGES.unrouted });
  for (const tier of retryTiers) await channel.assertExchange(tier.name, 'fanout');
}

async function declareSharedQueues(channel: Channel): Promise<void> {
  await declareQueue(channel, QUEUES.dead, { 'x-delivery-limit': PRACTICALLY_UNLIMITED });
  await channel.bindQueue(QUEUES.dead, EXCHANGES.dead, '');
  await declareQueue(channel, QUEUES.unrouted, { 'x-delivery-limit': PRACTICALLY_UNLIMITED });
  await channel.bindQueue(QUEUES.unrouted, EXCHANGES.unrouted, '');
  await declareQueue(channel, QUEUES.results, {
    'x-delivery-limit': FACT_DELIVERY_LIMIT,
    ...deadLetteringTo(EXCHANGES.dead),
  });
  await channel.bindQueue(QUEUES.results, EXCHANGES.results, '#');
  await channel.bindQueue(QUEUES.results, EXCHANGES.submissions, '');
  await declareQueue(channel, QUEUES.ingest, {
    'x-delivery-limit': FACT_DELIVERY_LIMIT,
    ...deadLetteringTo(EXCHANGES.dead),
  });
  await channel.bindQueue(QUEUES.ingest, EXCHANGES.ingest, '#');
  // Last, when a submission that reaches `jobs` reaches `results` as well.
  await channel.bindExchange(EXCHANGES.jobs, EXCHANGES.submissions, '');
}

async function declareRetryTier(channel: Channel, { name, delayMs }: RetryTier): Promise<void> {
  await declareQueue(channel, name, {
    'x-message-ttl': delayMs,
    'x-delivery-limit': PRACTICALLY_UNLIMITED,
    ...deadLetteringTo(EXCHANGES.jobs),
  });
  await channel.bindQueue(name, name, '');
}

async function declareWorkQueue(channel: Channel, pool: string, jobClass: JobClass): Promise<void> {
  const queue = workQueue(pool, jobClass);
  await declareQueue(channel, queue, { 'x-delivery-limit': DELIVERY_LIMIT, ...deadLetteringTo(EXCHANGES.dead) });
  await channel.bindQueue(queue, EXCHANGES.jobs, routingKey(pool, jobClass));
}

/** n.b. at-least-once needs reject-publish; with any other overflow the broker silently falls back to at-most-once. */
function deadLetteringTo(exchange: string): Readonly<Record<string, string>> {
  return {
    'x-dead-letter-exchange': exchange,
    'x-dead-letter-strategy': 'at-least-once',
    'x-overflow': 'reject-publish',
  };
}

async function declareQueue(
  channel: Channel,
  queue: string,
  settings: Readonly<Record<string, string | number>>,
): Promise<void> {
  await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum', ...settings } });
}
