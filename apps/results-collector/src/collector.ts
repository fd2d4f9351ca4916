import {
  createBatchConsumer,
  createBrokerConnection,
  createConsumer,
  createPublisher,
  declareTopology,
} from '@sluice/broker';
import { QUEUES } from '@sluice/contracts';
import { closeRedis, connectRedis, createQuota, redisReady } from '@sluice/quota';
import {
  createLifecycle,
  createOpsServer,
  type Lifecycle,
  type LifecyclePart,
  type Logger,
  type Service,
} from '@sluice/runtime';
import { createStore } from '@sluice/store';
import { createAccounting, type Accounting } from './accounting.js';
import { createAttendance } from './attendance.js';
import { createAvailability } from './availability.js';
import { createBacklog } from './backlog.js';
import type { Config } from './config.js';
import { createResultsHandler } from './consumer.js';
import { createDeadLetterHandler } from './dead-letters.js';
import { createMaintenance } from './maintenance.js';
import { createMonitoring } from './monitoring.js';
import { createPeriodic } from './periodic.js';
import { createRecorder } from './recorder.js';
import { createSettler, type Settler } from './settlement.js';
import { createSweeper } from './sweeper.js';

const NAME = 'results-collector';
const PUBLISH_DEADLINE_MS = 10_000;
/** With the margin of the client shorter than the usual drain: a batch that hangs may still fail in time. */
const STATEMENT_TIMEOUT_MS = 15_000;
const REDIS_START_TIMEOUT_MS = 5_000;
/** A good answer of a server counts for so many intervals between two questions. */
const ANSWERS_COUNT_FOR = 4;
/** For dead letters, the sweep, partitions and health. */
const FURTHER_POSTGRES_CONNECTIONS = 4;
const DEAD_LETTERS_AT_ONCE = 16;
const PREFETCHED_BATCHES = 4;
/**
 * How long facts are kept for servers that are away. With an attempt that hangs at that moment it is less than the grace
 * of overdue jobs, so a collector that is not cut off records them before they could be swept.
 */
const GIVE_BACK_AFTER_MS = 60_000;

export interface Collector {
  readonly lifecycle: Lifecycle;
  /** Port of the ops server; undefined when it is off. */
  readonly port: number | undefined;
}

/** Puts the collector together. Its servers may be away when it starts, except RabbitMQ; it waits for them. */
export function createCollector(config: Config, logger: Logger): Collector {
  const now = Date.now;
  const patience = new AbortController();
  const { signal } = patience;

  const store = createStore({
    url: config.postgresUrl,
    applicationName: NAME,
    poolSize: config.batchesInProgress + FURTHER_POSTGRES_CONNECTIONS,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    logger,
  });
  const redis = connectRedis({ url: config.redisUrl, name: NAME, logger });
  const quota = createQuota({ redis, keyPrefix: config.keyPrefix, logger });
  const consuming = createBrokerConnection({ url: config.rabbitmqUrl, name: `${NAME}: consume`, logger });
  const publishing = createBrokerConnection({ url: config.rabbitmqUrl, name: `${NAME}: publish`, logger });
  const publisher = createPublisher({ connection: publishing, deadlineMs: PUBLISH_DEADLINE_MS, logger });

  const maxAgeMs = config.healthIntervalMs * ANSWERS_COUNT_FOR;
  const postgresServer = createAvailability({ ping: () => store.ping(), maxAgeMs, now });
  const redisServer = createAvailability({ ping: () => redis.ping(), maxAgeMs, now });
  const backlog = createBacklog({ maxBatch: config.maxBatch, now });
  const onStoreFailure = (): void => {
    postgresServer.failed();
    backlog.disturbed();
  };

  const onQuotaFailure = (): void => {
    redisServer.failed();
    // The facts behind the batch that cannot be settled are not recorded either.
    backlog.disturbed();
  };

  function books(maxAttempts: number): { readonly accounting: Accounting; readonly settler: Settler } {
    const recorder = createRecorder({ store, onFailure: onStoreFailure, maxAttempts, logger });
    const settler = createSettler({ quota, onFailure: onQuotaFailure, maxAttempts, logger });
    return { accounting: createAccounting({ recorder, settler }), settler };
  }
  const { accounting } = books(Infinity);

  const source = { connection: consuming, publisher, logger };
  const serversUp = (): boolean => postgresServer.up && redisServer.up;
  const results = createAttendance({
    open: (leaving) =>
      createBatchConsumer({
        ...source,
        queue: QUEUES.results,
        prefetch: config.maxBatch * PREFETCHED_BATCHES,
        maxBatch: config.maxBatch,
        lingerMs: config.lingerMs,
        concurrency: config.batchesInProgress,
        handler: createResultsHandler({ accounting, backlog, signal: AbortSignal.any([signal, leaving]), now }),
      }),
    able: serversUp,
    patienceMs: GIVE_BACK_AFTER_MS,
    intervalMs: config.healthIntervalMs,
    now,
    logger,
  });
  const deadLetters = {
    ...source,
    prefetch: DEAD_LETTERS_AT_ONCE,
    handler: createDeadLetterHandler({ accounting, store, signal, onFailure: onStoreFailure, now, logger }),
  };
  const dead = createConsumer({ ...deadLetters, queue: QUEUES.dead });
  const unrouted = createConsumer({ ...deadLetters, queue: QUEUES.unrouted });

  const sweeper = createSweeper({
    ...books(1),
    store,
    quota,
    mayGoOn: () => serversUp() && backlog.quietForMs() >= config.sweepGraceMs,
    redisNowMs: async () => Number((await redis.time())[0]) * 1_000,
    graceMs: config.sweepGraceMs,
    now,
    logger,
  });
  const sweeps = createPeriodic({
    name: 'sweep',
    intervalMs: config.sweepIntervalMs,
    async run(halted) {
      await sweeper.sweep(halted);
    },
    logger,
  });

  const monitoring = createMonitoring({
    postgres: postgresServer,
    redis: redisServer,
    consumers: { results, dead, unrouted },
    backlog,
    intervalMs: config.healthIntervalMs,
    now,
    logger,
  });
  const ops = createOpsServer({
    host: config.opsHost,
    port: config.opsPort,
    live: () => monitoring.live(),
    ready: () => lifecycle.state === 'running' && monitoring.ready(),
    detail: () => monitoring.detail(),
    logger,
  });

  const wait = (error: unknown): void => logger.warn({ err: error }, 'a server is away, facts will wait for it');
  const lifecycle = createLifecycle(
    [
      part('ops server', ops),
      {
        name: 'Redis',
        start: () => redisReady(redis, REDIS_START_TIMEOUT_MS).catch(wait),
        stop: () => closeRedis(redis),
      },
      { name: 'PostgreSQL', start: () => store.start().catch(wait), stop: () => store.stop() },
      part('publishing connection', publishing),
      part('consuming connection', consuming),
      { name: 'topology', start: () => declareTopology(consuming, { pools: {} }) },
      part('publisher', publisher),
      part('partitions', createMaintenance({ store, intervalMs: config.maintenanceIntervalMs, logger })),
      part('results', results),
      part('dead letters', dead),
      part('unrouted jobs', unrouted),
      part('health', monitoring),
      part('sweep', sweeps),
      // Stopped first: from here on nobody waits for a server that is away.
      { name: 'patience', stop: async () => patience.abort() },
    ],
    logger,
  );

  return {
    lifecycle,
    get port() {
      return config.opsPort === undefined ? undefined : ops.port;
    },
  };
}

function part(name: string, service: Service): LifecyclePart {
  return { name, start: () => service.start(), stop: () => service.stop() };
}
