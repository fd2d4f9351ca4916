import { randomUUID } from 'node:crypto';
import { markerMessageSchema, MESSAGE_TYPES } from '@sluice/contracts';
import { delay } from '@sluice/runtime';
import {
  ack,
  createBrokerConnection,
  createConsumer,
  createFence,
  createFenceMember,
  createPublisher,
  type BrokerConnection,
  type Consumer,
  type Delivery,
  type Fence,
  type FenceMember,
  type FenceMemberOptions,
  type FenceRegistry,
  type OutgoingMessage,
  type Publisher,
  type RegisteredMember,
} from '../src/index.js';
import { logger, type Bench } from './support.js';

/** A registry in memory; the suite's is a table. */
export interface TestRegistry extends FenceRegistry {
  readonly rows: Map<string, RegisteredMember>;
  /** How often `members` was called. */
  reads: number;
  /** `register` and `members` reject while true. */
  away: boolean;
  /** Runs in each `members`, with how many there were before. */
  onRead: (reads: number) => Promise<void>;
}

export function createTestRegistry(): TestRegistry {
  const rows = new Map<string, RegisteredMember>();
  const check = (): void => {
    if (registry.away) throw new Error('the registry is away');
  };
  const registry: TestRegistry = {
    rows,
    reads: 0,
    away: false,
    onRead: () => Promise.resolve(),
    async register(member) {
      check();
      rows.set(member.memberId, { ...member, seenAtMs: Date.now() });
    },
    async members() {
      registry.reads += 1;
      check();
      await registry.onRead(registry.reads - 1);
      return [...rows.values()];
    },
    async forget(memberId) {
      rows.delete(memberId);
    },
  };
  return registry;
}

/** Facts by message id, as PostgreSQL would have them. */
export type Recorded = Set<string>;

export interface TestGateway {
  readonly connection: BrokerConnection;
  readonly publisher: Publisher;
  readonly member: FenceMember;
  /** Publishes a fact as an admission does: reserved at the call, published a moment later. Rejects when not ready. */
  admit(messageId?: string): Promise<string>;
}

export interface TestCollector {
  readonly connection: BrokerConnection;
  readonly consumer: Consumer;
  readonly member: FenceMember;
}

export interface FenceFixture {
  readonly registry: TestRegistry;
  readonly recorded: Recorded;
  gateway(options?: { url?: string } & Partial<Pick<FenceMemberOptions, 'onDrain' | 'memberId'>>): Promise<TestGateway>;
  collector(options?: CollectorChoices): Promise<TestCollector>;
  fence(timeoutMs?: number): Promise<Fence>;
}

export interface CollectorChoices {
  readonly url?: string;
  readonly prefetch?: number;
  /** Before a fact is recorded. */
  readonly before?: (delivery: Delivery, signal: AbortSignal) => Promise<void>;
  /** When the member is asked to pass, before the barrier. */
  readonly onPass?: () => void;
}

/** Gateways and collectors on connections of their own, stopped with the bench's `release`. */
export function openFenceFixture(bench: Bench): FenceFixture {
  const registry = createTestRegistry();
  const recorded: Recorded = new Set();

  async function connect(name: string, url = bench.url): Promise<BrokerConnection> {
    const connection = bench.keep(createBrokerConnection({ url, name, logger }));
    await connection.start();
    return connection;
  }

  async function publisherOn(connection: BrokerConnection): Promise<Publisher> {
    const publisher = bench.keep(createPublisher({ connection, logger, deadlineMs: 5_000 }));
    await publisher.start();
    return publisher;
  }

  async function join(options: Omit<FenceMemberOptions, 'registry' | 'logger'>): Promise<FenceMember> {
    const member = bench.keep(createFenceMember({ ...options, registry, logger }));
    await member.start();
    await member.whenReady();
    return member;
  }

  return {
    registry,
    recorded,
    async gateway({ url, onDrain, memberId = randomUUID() } = {}) {
      const connection = await connect('test-gateway', url);
      const publisher = await publisherOn(connection);
      const inFlight = new Set<Promise<void>>();
      const drain = async (): Promise<void> => {
        await Promise.allSettled(inFlight);
        await publisher.barrier();
      };
      const member = await join({ connection, publisher, memberId, role: 'gateway', onDrain: onDrain ?? drain });
      return {
        connection,
        publisher,
        member,
        async admit(messageId = randomUUID()) {
          if (!member.ready) throw new Error('not ready');
          const { generation } = connection;
          const admission = delay(0).then(() => publisher.publish(fact(messageId), { generation }));
          inFlight.add(admission);
          await admission.finally(() => inFlight.delete(admission));
          return messageId;
        },
      };
    },
    async collector({ url, prefetch = 10, before, onPass } = {}) {
      const connection = await connect('test-collector', url);
      const member = await join({
        connection,
        publisher: bench.publisher,
        memberId: randomUUID(),
        role: 'collector',
        barrier() {
          onPass?.();
          return consumer.barrier();
        },
        generation: () => consumer.generation,
        attached: () => consumer.attached,
      });
      const consumer: Consumer = bench.keep(
        createConsumer({
          connection,
          publisher: bench.publisher,
          queue: 'results',
          prefetch,
          logger,
          async handler(delivery, signal) {
            if (delivery.type === MESSAGE_TYPES.marker) {
              await member.received(markerMessageSchema.parse(JSON.parse(delivery.body.toString())));
              return ack;
            }
            await before?.(delivery, signal);
            if (!signal.aborted) recorded.add(delivery.messageId);
            return ack;
          },
        }),
      );
      await consumer.start();
      return { connection, consumer, member };
    },
    async fence(timeoutMs = 20_000) {
      const connection = await connect('test-fence');
      const publisher = await publisherOn(connection);
      const fence = bench.keep(createFence({ connection, publisher, registry, timeoutMs, logger }));
      await fence.start();
      return fence;
    },
  };
}

export function fact(messageId: string = randomUUID()): OutgoingMessage {
  return { exchange: 'results', routingKey: 'fact', body: Buffer.from('{}'), type: MESSAGE_TYPES.accepted, messageId };
}
