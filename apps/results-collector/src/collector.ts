import { randomUUID } from 'node:crypto';
import {
  createBatchConsumer,
  createBrokerConnection,
  createConsumer,
  createFence,
  createFenceMember,
  createPublisher,
  declareTopology,
} from '@sluice/broker';
import { QUEUES } from '@sluice/contracts';
import { closeRedis, connectRedis, createQuota, redisReady } from '@sluice/quota';
import {
  createLifecycle,
  createOpsServer,
  withDeadline,
  type Lifecycle,
  type LifecyclePart,
  type Logger,
  type Service,
} from '@sluice/runtime';
import { createStore, type CompletedFact } from '@sluice/store';
import { createAccounting } from './accounting.js';
import { createAlerts } from './alerts.js';
import { createAnnouncer } from './announcer.js';
import { createAttendance } from './attendance.js';
import { createAvailability } from './availability.js';
import type { Config } from './config.js';
import { createResultsHandler } from './consumer.js';
import { createDeadJobs } from './dead-jobs.js';
import { createDeadLetterHandler } from './dead-letters.js';
import { createDriftCheck } from './drift-check.js';
import { completedMessageOf } from './facts.js';
import { registryOf } from './fence-registry.js';
import { createMaintenance } from './maintenance.js';
import { createCollectorMetrics } from './metrics.js';
import { createMonitoring } from './monitoring.js';
import { createPeriodic } from './periodic.js';
import { createRecorder } from './recorder.js';
import { createRetention } from './retention.js';
import { createSettler, leaveToSweep } from './settlement.js';
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
/** Each may be as large as the broker lets a message be. */
const DEAD_LETTERS_AT_ONCE = 4;
const PREFETCHED_BATCHES = 4;
/** More than the events of all batches in progress. */
const EVENTS_IN_FLIGHT = 16_384;
/** How long the start waits to be in the registry of the fence; then consuming begins when that has happened. */
const REGISTER_TIMEOUT_MS = 1_000;
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
  const metrics = createCollectorMetrics();
  const onStoreFailure = (): void => postgresServer.failed();
  const onQuotaFailure = (): void => redisServer.failed();

  const registry = registryOf(store);
  const member = createFenceMember({
    connection: consuming,
    publisher,
    memberId: randomUUID(),
    role: 'collector',
    registry,
    barrier: () => results.barrier(),
    generation: () => results.generation,
    attached: () => results.attached,
    logger,
  });
  const fence = createFence({
    connection: publishing,
    publisher,
    registry,
    timeoutMs: config.fenceTimeoutMs,
    logger,
  });

  const eventPublisher = createPublisher({
    connection: publishing,
    deadlineMs: PUBLISH_DEADLINE_MS,
    maxInFlight: EVENTS_IN_FLIGHT,
    logger: logger.child({ part: 'events' }),
  });
  const announcer = createAnnouncer({
    publisher: eventPublisher,
    choice: config.events,
    onPublished: metrics.published,
    logger,
  });
  const settling = { quota, onFailure: onQuotaFailure, onOutcome: metrics.settled, logger };
  const recorder = createRecorder({ store, onFailure: onStoreFailure, onRecorded: metrics.recorded, logger });
  const accounting = createAccounting({ recorder, settler: createSettler(settling), announcer });
  const impatientSettler = createSettler({ ...settling, maxAttempts: 1 });

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
        handler: createResultsHandler({
          accounting,
          noteRunning: (jobs) => quota.running(jobs),
          answerMarker: (marker) => member.received(marker),
          signal: AbortSignal.any([signal, leaving]),
          logger,
        }),
      }),
    able: serversUp,
    mayBegin: () => member.ready,
    patienceMs: GIVE_BACK_AFTER_MS,
    intervalMs: config.healthIntervalMs,
    now,
    logger,
  });
  const passFence = (): Promise<void> => fence.pass();
  const report = (fact: CompletedFact): Promise<void> => publisher.publish(completedMessageOf(fact));
  const deadLetters = {
    ...source,
    prefetch: DEAD_LETTERS_AT_ONCE,
    handler: createDeadLetterHandler({
      accounting: createAccounting({ recorder, settler: leaveToSweep(impatientSettler, logger), announcer }),
      endDeadJob: createDeadJobs({ store, passFence, report }),
      ...{ store, signal, now, logger },
      onFailure: onStoreFailure,
      onKept: metrics.deadLetter,
    }),
  };
  const dead = createConsumer({ ...deadLetters, queue: QUEUES.dead });
  const unrouted = createConsumer({ ...deadLetters, queue: QUEUES.unrouted });

  const sweeper = createSweeper({
    store,
    quota,
    settler: impatientSettler,
    report,
    passFence,
    mayGoOn: serversUp,
    redisNowMs: async () => Number((await redis.time())[0]) * 1_000,
    graceMs: config.sweepGraceMs,
    now,
    logger,
  });
  const sweeps = createPeriodic({
    name: 'sweep',
    intervalMs: config.sweepIntervalMs,
    async run(halted) {
      metrics.swept(await sweeper.sweep(halted));
    },
    logger,
  });
  const driftCheck = createDriftCheck({
    ...{ store, quota, passFence, now, logger },
    onDrift: metrics.drift,
    onRepair: metrics.repaired,
  });
  const drift = createPeriodic({
    name: 'drift check',
    intervalMs: config.driftIntervalMs,
    run: async (halted) => (serversUp() ? driftCheck.check(halted) : undefined),
    logger,
  });
  const alerting = createAlerts({ store, announcer, onSent: metrics.alertSent, logger });
  const alerts = createPeriodic({
    name: 'limit alerts',
    intervalMs: config.alertIntervalMs,
    run: (halted) => alerting.run(halted),
    logger,
  });

  const retention = createRetention({
    ...{ store, now, logger },
    policy: config.retention,
    exportDirectory: config.exportDirectory,
    onDropped: metrics.dropped,
  });
  const clearing = createPeriodic({
    name: 'retention',
    intervalMs: config.maintenanceIntervalMs,
    run: (halted) => retention.run(halted),
    logger,
  });

  const monitoring = createMonitoring({
    postgres: postgresServer,
    redis: redisServer,
    consumers: { results, dead, unrouted },
    member,
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
    metrics: () => metrics.render(),
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
      part('event publisher', eventPublisher),
      part('fence member', member),
      part('fence', fence),
      part('partitions', createMaintenance({ store, intervalMs: config.maintenanceIntervalMs, logger })),
      {
        name: 'results',
        async start() {
          await withDeadline(member.whenReady(), REGISTER_TIMEOUT_MS, () => new Error('not registered yet')).catch(
            wait,
          );
          await results.start();
        },
        stop: () => results.stop(),
      },
      part('dead letters', dead),
      part('unrouted jobs', unrouted),
      part('health', monitoring),
      part('sweep', sweeps),
      part('drift check', drift),
      part('limit alerts', alerts),
      part('retention', clearing),
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
