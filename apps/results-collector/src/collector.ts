import {
  createBatchConsumer,
  createBrokerConnection,
  createConsumer,
  createPublisher,
  declareTopology,
  type Consumer,
} from '@sluice/broker';
import { QUEUES } from '@sluice/contracts';
import { connectRedis, createQuota, redisReady } from '@sluice/quota';
import { createLifecycle, createOpsServer, type Lifecycle, type LifecyclePart, type Logger } from '@sluice/runtime';
import { createStore } from '@sluice/store';
import { createAccounting } from './accounting.js';
import { createAvailability } from './availability.js';
import { createBacklog } from './backlog.js';
import type { Config } from './config.js';
import { createResultsHandler } from './consumer.js';
import { createDeadLetterHandler } from './dead-letters.js';
import { createMaintenance } from './maintenance.js';
import { createPeriodic } from './periodic.js';
import { createProgressWatch } from './progress.js';
import { createRecorder } from './recorder.js';
import { createSettler } from './settlement.js';
import { createSweeper } from './sweeper.js';

const NAME = 'results-collector';
const PUBLISH_DEADLINE_MS = 10_000;
const STATEMENT_TIMEOUT_MS = 30_000;
const REDIS_START_TIMEOUT_MS = 5_000;
const STUCK_AFTER_MS = 300_000;
const HEALTH_ANSWERS_COUNT_FOR = 4;
/** Batches of results, and beside them dead letters, the sweep, partitions and health. */
const EXTRA_POSTGRES_CONNECTIONS = 4;
const DEAD_LETTERS_AT_ONCE = 16;
const PREFETCHED_BATCHES = 4;

export interface Collector {
  readonly lifecycle: Lifecycle;
  /** Port of the ops server; undefined when it is off. */
  readonly port: number | undefined;
}

/** Puts the collector together. Nothing is connected before `lifecycle.start()`. */
export function createCollector(config: Config, logger: Logger): Collector {
  const now = Date.now;
  const stopping = new AbortController();
  const { signal } = stopping;

  const store = createStore({
    url: config.postgresUrl,
    applicationName: NAME,
    poolSize: config.batchesInProgress + EXTRA_POSTGRES_CONNECTIONS,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    logger,
  });
  const redis = connectRedis({ url: config.redisUrl, name: NAME, logger });
  const quota = createQuota({ redis, keyPrefix: config.keyPrefix, logger });
  const consuming = createBrokerConnection({ url: config.rabbitmqUrl, name: `${NAME}: consume`, logger });
  const publishing = createBrokerConnection({ url: config.rabbitmqUrl, name: `${NAME}: publish`, logger });
  const publisher = createPublisher({ connection: publishing, deadlineMs: PUBLISH_DEADLINE_MS, logger });

  const maxAgeMs = config.healthIntervalMs * HEALTH_ANSWERS_COUNT_FOR;
  const postgres = createAvailability({ ping: () => store.ping(), maxAgeMs, now });
  const redisServer = createAvailability({ ping: () => redis.ping(), maxAgeMs, now });
  const backlog = createBacklog({ maxBatch: config.maxBatch, now });
  const onStoreFailure = (): void => {
    postgres.failed();
    backlog.disturbed();
  };

  const recorder = createRecorder({ store, onFailure: onStoreFailure, logger });
  const settler = createSettler({ quota, onFailure: () => redisServer.failed(), logger });
  const accounting = createAccounting({ recorder, settler });
  const onDeadLetter = createDeadLetterHandler({ accounting, store, signal, onFailure: onStoreFailure, now, logger });

  const results = createBatchConsumer({
    connection: consuming,
    publisher,
    queue: QUEUES.results,
    prefetch: config.maxBatch * PREFETCHED_BATCHES,
    maxBatch: config.maxBatch,
    lingerMs: config.lingerMs,
    concurrency: config.batchesInProgress,
    handler: createResultsHandler({ accounting, backlog, signal }),
    logger,
  });
  const [dead, unrouted] = [QUEUES.dead, QUEUES.unrouted].map((queue) =>
    createConsumer({
      connection: consuming,
      publisher,
      queue,
      prefetch: DEAD_LETTERS_AT_ONCE,
      handler: onDeadLetter,
      logger,
    }),
  ) as [Consumer, Consumer];
  const consumers = [results, dead, unrouted];

  const progress = createProgressWatch({
    consumers,
    expected: () => postgres.up && redisServer.up,
    patienceMs: STUCK_AFTER_MS,
    now,
  });
  const health = createPeriodic({
    name: 'health',
    intervalMs: config.healthIntervalMs,
    async run() {
      await Promise.all([postgres.check(), redisServer.check()]);
      if (!postgres.up || !results.attached) backlog.disturbed();
      progress.observe();
    },
    logger,
  });

  const sweeper = createSweeper({
    store,
    quota,
    accounting,
    settler,
    redisNowMs: async () => Number((await redis.time())[0]) * 1000,
    graceMs: config.sweepGraceMs,
    now,
    logger,
  });
  const sweeps = createPeriodic({
    name: 'sweep',
    intervalMs: config.sweepIntervalMs,
    async run(halted) {
      if (backlog.quietForMs() >= config.sweepGraceMs) await sweeper.sweep(halted);
    },
    logger,
  });

  const attached = (): boolean => consumers.every((consumer) => consumer.attached);
  const ops = createOpsServer({
    host: config.opsHost,
    port: config.opsPort,
    live: () => !progress.stuck,
    ready: () => lifecycle.state === 'running' && attached() && postgres.up && redisServer.up,
    detail: () => ({
      state: lifecycle.state,
      postgres: postgres.up,
      redis: redisServer.up,
      attached: attached(),
      inFlight: Object.fromEntries([results, dead, unrouted].map((consumer, i) => [QUEUE_NAMES[i], consumer.inFlight])),
      sweepHeldBack: backlog.quietForMs() < config.sweepGraceMs,
    }),
    logger,
  });

  const parts: readonly LifecyclePart[] = [
    service('ops server', ops),
    {
      name: 'Redis',
      start: () => redisReady(redis, REDIS_START_TIMEOUT_MS).catch((error: unknown) => waitLater(error)),
      stop: async () => redis.disconnect(),
    },
    service('PostgreSQL', store),
    service('health', health),
    service('publishing connection', publishing),
    service('consuming connection', consuming),
    { name: 'topology', start: () => declareTopology(consuming, { pools: {} }) },
    service('publisher', publisher),
    service('partitions', createMaintenance({ store, intervalMs: config.maintenanceIntervalMs, logger })),
    ...consumers.map((consumer, i) => service(`consumer of ${QUEUE_NAMES[i] ?? ''}`, consumer)),
    service('sweep', sweeps),
    // Stopped first: from here on nobody waits for a server that is away.
    { name: 'patience', stop: async () => stopping.abort() },
  ];
  const waitLater = (error: unknown): void =>
    logger.warn({ err: error }, 'Redis is away, settlements will wait for it');
  const lifecycle = createLifecycle(parts, logger);

  return {
    lifecycle,
    get port() {
      return config.opsPort === undefined ? undefined : ops.port;
    },
  };
}

const QUEUE_NAMES = [QUEUES.results, QUEUES.dead, QUEUES.unrouted] as const;

function service(name: string, { start, stop }: Pick<Lifecycle, 'start' | 'stop'>): LifecyclePart {
  return { name, start: () => start(), stop: () => stop() };
}
