import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import {
  ack,
  createBrokerConnection,
  createConsumer,
  createFenceMember,
  createPublisher,
  declareTopology,
  type Delivery,
  type FenceMember,
} from '@sluice/broker';
import {
  acceptedMessageSchema,
  completedMessageSchema,
  markerMessageSchema,
  MESSAGE_TYPES,
  QUEUES,
  totalTokens,
  type AcceptedMessage,
  type CompletedMessage,
} from '@sluice/contracts';
import { closeRedis, connectRedis, createQuota, redisReady, type Quota } from '@sluice/quota';
import { createLogger } from '@sluice/runtime';
import { createStore, type Store } from '@sluice/store';

/**
 * Does for the gateway's tests what the results collector does: answers fences, records facts, settles. It can hold facts
 * back, as a collector does whose PostgreSQL is slow.
 */
export interface StandInCollector {
  readonly store: Store;
  readonly quota: Quota;
  /** Facts of accepted jobs in the order in which they came, recorded or held back. */
  readonly accepted: readonly AcceptedMessage[];
  readonly completed: readonly CompletedMessage[];
  /** Resolves when the job's accepted fact has been recorded. */
  recorded(jobId: string): Promise<AcceptedMessage>;
  /** Facts that come from now on are neither recorded nor acknowledged until `release`. */
  holdBack(): void;
  release(): void;
  stop(): Promise<void>;
}

export interface StandInOptions {
  readonly postgresUrl: string;
  readonly redisUrl: string;
  readonly rabbitmqUrl: string;
  readonly keyPrefix: string;
}

const PREFETCH = 2_000;
const logger = createLogger({ app: 'stand-in collector', level: 'silent' });

export async function startStandInCollector(options: StandInOptions): Promise<StandInCollector> {
  const { keyPrefix } = options;
  const name = 'stand-in collector';
  const store = createStore({
    url: options.postgresUrl,
    applicationName: name,
    poolSize: 4,
    statementTimeoutMs: 10_000,
    logger,
  });
  const redis = connectRedis({ url: options.redisUrl, name, logger });
  const quota = createQuota({ redis, keyPrefix, logger });
  const connection = createBrokerConnection({ url: options.rabbitmqUrl, name, logger });
  const publisher = createPublisher({ connection, logger, deadlineMs: 10_000 });
  const accepted: AcceptedMessage[] = [];
  const completed: CompletedMessage[] = [];
  const recorded = new Set<string>();
  const news = new EventEmitter().setMaxListeners(0);
  let held = false;

  function release(): void {
    held = false;
    news.emit('released');
  }

  async function acceptedFact(message: AcceptedMessage): Promise<void> {
    accepted.push(message);
    while (held) await once(news, 'released');
    await store.recordFacts([{ type: 'accepted', message }]);
    recorded.add(message.jobId);
    news.emit('recorded');
  }

  async function completedFact(message: CompletedMessage): Promise<void> {
    completed.push(message);
    while (held) await once(news, 'released');
    await store.recordFacts([{ type: 'completed', message }]);
    const { tenantId, jobId } = message;
    const fact = (await store.terminalFacts([jobId])).get(jobId);
    if (!fact || fact === 'open') throw new Error(`${jobId} has just been recorded and is open`);
    const { usage, state, amountNanoUsd } = fact;
    const used = { tokens: totalTokens(usage), nanoUsd: Number(amountNanoUsd), outputTokens: usage.outputTokens };
    await quota.settle([{ tenantId, jobId, ...used, state }]);
  }

  async function take({ type, body }: Delivery, member: FenceMember): Promise<void> {
    const content: unknown = JSON.parse(body.toString());
    if (type === MESSAGE_TYPES.marker) await member.received(markerMessageSchema.parse(content));
    else if (type === MESSAGE_TYPES.accepted) await acceptedFact(acceptedMessageSchema.parse(content));
    else if (type === MESSAGE_TYPES.completed) await completedFact(completedMessageSchema.parse(content));
  }

  const member: FenceMember = createFenceMember({
    ...{ connection, publisher, memberId: randomUUID(), role: 'collector', logger },
    registry: {
      register: (facts) => store.registerFenceMember(facts),
      members: () => store.fenceMembers(),
      forget: (memberId) => store.forgetFenceMember(memberId),
    },
    barrier: () => consumer.barrier(),
    generation: () => consumer.generation,
    attached: () => consumer.attached,
  });
  const consumer = createConsumer({
    ...{ connection, publisher, queue: QUEUES.results, prefetch: PREFETCH, logger },
    async handler(delivery) {
      await take(delivery, member);
      return ack;
    },
  });

  await Promise.all([store.start(), redisReady(redis, 10_000), connection.start()]);
  await declareTopology(connection, { pools: {} });
  await publisher.start();
  await member.start();
  await member.whenReady();
  await consumer.start();

  return {
    store,
    quota,
    accepted,
    completed,
    async recorded(jobId) {
      while (!recorded.has(jobId)) await once(news, 'recorded');
      const fact = accepted.find((message) => message.jobId === jobId);
      if (!fact) throw new Error(`${jobId} was recorded and not seen`);
      return fact;
    },
    holdBack() {
      held = true;
    },
    release,
    async stop() {
      release();
      await consumer.stop();
      await member.stop();
      await publisher.stop();
      await connection.stop();
      await closeRedis(redis);
      await store.stop();
    },
  };
}
