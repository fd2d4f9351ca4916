import { createBrokerMetrics, declareTopology, publishIn, type Consumer } from '@sluice/broker';
import {
  createLifecycle,
  createOpsServer,
  withDeadline,
  type Lifecycle,
  type LifecyclePart,
  type Logger,
  type OpsServer,
  type Service,
} from '@sluice/runtime';
import type { CompletedFact } from '@sluice/store';
import { createMetrics, createProcessMetrics, noTracing, type Trace, type Tracing } from '@sluice/telemetry';
import { createAnnouncer } from './announcer.js';
import { createAvailability } from './availability.js';
import type { Config } from './config.js';
import { completedMessageOf } from './facts.js';
import { createMessaging, type Messaging } from './messaging.js';
import { createCollectorMetrics } from './metrics.js';
import { createQueueDepths } from './queue-depths.js';
import { createMonitoring, type Monitoring } from './monitoring.js';
import { createDeadLetterQueues, createResults } from './queues.js';
import { createRecorder } from './recorder.js';
import { connectServers, NAME, type CollectorServers } from './servers.js';
import { createSettler } from './settlement.js';
import { createTasks, type Tasks } from './tasks.js';

const REDIS_START_TIMEOUT_MS = 5_000;
/** A good answer of a server counts for so many intervals between two questions. */
const ANSWERS_COUNT_FOR = 4;
/** The depths of queues are looked at once in so many looks at the servers. */
const DEPTHS_EVERY = 5;
/** How long the start waits to be in the registry of the fence; then consuming begins when that has happened. */
const REGISTER_TIMEOUT_MS = 1_000;

export interface Collector {
  readonly lifecycle: Lifecycle;
  /** Port of the ops server; undefined when it is off. */
  readonly opsPort: number | undefined;
}

/** What may be given to a collector. */
export interface CollectorOptions {
  /** Those that the configuration names when absent. */
  readonly servers?: CollectorServers;
  /** Records what becomes of facts; nothing does when absent. */
  readonly tracing?: Pick<Tracing, 'tracer'>;
}

/**
 * Puts the collector together. They may be away when
 * it starts, except RabbitMQ; it waits for them.
 */
export function createCollector(
  config: Config,
  logger: Logger,
  { servers = connectServers(config, logger), tracing = noTracing }: CollectorOptions = {},
): Collector {
  // n.b. spans of time go by this one. What is dated or due goes by the clock of Redis, for the machine's may be wrong.
  const monotonicMs = (): number => performance.now();
  const patience = new AbortController();
  const { signal } = patience;
  const { store, quota, redis } = servers;

  const availability = { maxAgeMs: config.healthIntervalMs * ANSWERS_COUNT_FOR, monotonicMs };
  const postgresServer = createAvailability({ ping: () => store.ping(), ...availability });
  const redisServer = createAvailability({ ping: () => redis.ping(), ...availability });
  const serversUp = (): boolean => postgresServer.up && redisServer.up;
  /** What the clock of Redis showed last, beyond the monotonic one. */
  let redisAheadMs: number | undefined;
  const page = createMetrics();
  const broker = createBrokerMetrics(page);
  const metrics = createCollectorMetrics(page, () => redisAheadMs && monotonicMs() + redisAheadMs);
  metrics.watch(() => ({ postgres: postgresServer.up, redis: redisServer.up }));
  const onStoreFailure = (): void => {
    metrics.serverFailed('postgres');
    postgresServer.failed();
  };
  const onRedisFailure = (): void => {
    metrics.serverFailed('redis');
    redisServer.failed();
  };
  const redisNowMs = async (): Promise<number> => {
    const nowMs = Math.floor(await redis.nowMs());
    redisAheadMs = nowMs - monotonicMs();
    return nowMs;
  };
  const messaging = createMessaging({ config, servers, broker, results: () => results, logger });
  const { publisher, eventPublisher, member, fence } = messaging;
  const announcer = createAnnouncer({
    publisher: eventPublisher,
    choice: config.events,
    onPublished: metrics.published,
    logger,
  });
  const settling = {
    ...{ quota, onFailure: onRedisFailure, onOutcome: metrics.settled, onSettled: metrics.settling },
    logger,
  };
  const impatientSettler = createSettler({ ...settling, maxAttempts: 1 });
  const shared = {
    ...{ config, servers, serversUp, announcer, metrics, monotonicMs, redisNowMs, logger },
    passFence: (): Promise<void> => fence.pass(),
    report: (fact: CompletedFact, trace?: Trace): Promise<void> =>
      publishIn(trace, publisher, completedMessageOf(fact)),
  };
  const queues = {
    ...{ ...shared, messaging, impatientSettler, onStoreFailure, signal },
    tracer: tracing.tracer,
    recorder: createRecorder({
      ...{ store, onFailure: onStoreFailure, onRecorded: metrics.recorded, logger },
      onBatch: metrics.batch,
      onCompleted: metrics.completed,
    }),
    settler: createSettler(settling),
  };
  const results: Consumer = createResults(queues);
  const consumers = { results, ...createDeadLetterQueues(queues) };
  const tasks = createTasks({ ...shared, settler: impatientSettler });

  const monitoring = createMonitoring({
    ...{ postgres: postgresServer, redis: redisServer, consumers, member, monotonicMs, logger },
    intervalMs: config.healthIntervalMs,
  });
  const ops = createOpsServer({
    host: config.opsHost,
    port: config.opsPort,
    live: () => monitoring.live(),
    ready: () => lifecycle.state === 'running' && monitoring.ready(),
    detail: () => monitoring.detail(),
    metrics: () => page.render(),
    logger,
  });
  // n.b. nobody can ask where there is no ops server.
  const [processMetrics, depths] =
    config.opsPort === undefined
      ? [[], []]
      : [
          [part('process metrics', createProcessMetrics(page, NAME))],
          [
            part(
              'queue depths',
              createQueueDepths({
                connection: messaging.consuming,
                intervalMs: DEPTHS_EVERY * config.healthIntervalMs,
                onDepths: metrics.depths,
                logger,
              }),
            ),
          ],
        ];
  const parts: Parts = { servers, messaging, consumers, tasks, monitoring, ops, depths, patience, logger };
  const lifecycle = createLifecycle([...processMetrics, ...partsInOrder(parts)], logger);

  return {
    lifecycle,
    get opsPort() {
      return config.opsPort === undefined ? undefined : ops.port;
    },
  };
}

/** What starts and stops. */
interface Parts {
  readonly servers: CollectorServers;
  readonly messaging: Messaging;
  readonly consumers: Readonly<Record<'results' | 'dead' | 'unrouted', Consumer>>;
  readonly tasks: Tasks;
  readonly monitoring: Monitoring;
  readonly ops: OpsServer;
  readonly depths: readonly LifecyclePart[];
  readonly patience: AbortController;
  readonly logger: Logger;
}

function partsInOrder(parts: Parts): readonly LifecyclePart[] {
  const { servers, messaging, consumers, tasks, monitoring, ops, patience, logger } = parts;
  const { store, redis } = servers;
  const { consuming, publishing, publisher, eventPublisher, member, fence } = messaging;
  const wait = (error: unknown): void => logger.warn({ err: error }, 'a server is away, facts will wait for it');

  async function startResults(): Promise<void> {
    const late = new Error('not registered yet');
    await withDeadline(member.whenReady(), REGISTER_TIMEOUT_MS, () => late).catch(wait);
    await consumers.results.start();
  }

  return [
    part('ops server', ops),
    { name: 'Redis', start: () => redis.ready(REDIS_START_TIMEOUT_MS).catch(wait), stop: () => redis.close() },
    { name: 'PostgreSQL', start: () => store.start().catch(wait), stop: () => store.stop() },
    part('publishing connection', publishing),
    part('consuming connection', consuming),
    { name: 'topology', start: () => declareTopology(consuming, { pools: {} }) },
    part('publisher', publisher),
    part('event publisher', eventPublisher),
    part('fence member', member),
    part('fence', fence),
    part('partitions', tasks.partitions),
    { name: 'results', start: startResults, stop: () => consumers.results.stop() },
    part('dead letters', consumers.dead),
    part('unrouted jobs', consumers.unrouted),
    part('health', monitoring),
    part('sweep', tasks.sweep),
    part('drift check', tasks.drift),
    part('limit alerts', tasks.alerts),
    part('retention', tasks.retention),
    part('backlog check', tasks.backlog),
    ...parts.depths,
    // Stopped first: from here on nobody waits for a server that is away.
    { name: 'patience', stop: async () => patience.abort() },
  ];
}

function part(name: string, service: Service): LifecyclePart {
  return { name, start: () => service.start(), stop: () => service.stop() };
}
