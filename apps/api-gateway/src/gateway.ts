import { createBrokerMetrics, declareTopology, type BrokerConnection } from '@sluice/broker';
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
import { createMetrics, createProcessMetrics, noTracing, type Metrics, type Tracing } from '@sluice/telemetry';
import { backlogPage, createBacklogMetrics } from './backlog-pages.js';
import { createBacklog } from './backlog.js';
import { createCallerTraces, type CallerTraces } from './caller-traces.js';
import type { Catalogue } from './catalogue.js';
import type { GatewayConfig } from './config.js';
import { createHealth, type HealthCheck } from './health.js';
import { createHttp } from './http.js';
import { createIngest, type Ingest } from './ingest.js';
import { createJobs, type Jobs } from './jobs.js';
import { connectServers, NAME, type GatewayServers } from './servers.js';

const REDIS_TIMEOUT_MS = 10_000;
/** The gateway listens after this even if PostgreSQL, where fence members register, does not answer; it is not ready then. */
const MEMBER_WAIT_MS = 5_000;

/** What keeps the catalogue up to date, and what is wrong with its files. */
type Watch = Service & { readonly problems: readonly string[] };

export interface GatewayOptions {
  readonly config: GatewayConfig;
  readonly catalogue: Catalogue;
  /** Keeps the catalogue up to date; it stays as it is when absent. */
  readonly watch?: Watch;
  /** Records what becomes of requests; nothing does when absent. */
  readonly tracing?: Pick<Tracing, 'tracer'>;
  readonly logger: Logger;
  /** What it talks to; the servers that the configuration names when absent. */
  readonly servers?: GatewayServers;
  /** Whether it takes requests over HTTP; it does when absent. Without, `jobs` is the only way in besides `ingest`. */
  readonly listen?: boolean;
}

export interface Gateway {
  /** Everything that starts and stops. */
  readonly lifecycle: Lifecycle;
  /** Port that it listens on; 0 while it does not. */
  readonly port: number;
  /** Port of the ops server; undefined while it does not listen. */
  readonly opsPort: number | undefined;
  /** What HTTP calls: authenticates, admits, finds and cancels jobs. */
  readonly jobs: Pick<Jobs, 'authentication' | 'admission' | 'lookup' | 'cancellation' | 'bounds'>;
}

/** A gateway as it is made: what starts and stops, by name. */
interface Parts {
  readonly config: GatewayConfig;
  readonly servers: GatewayServers;
  readonly jobs: Jobs;
  readonly connection: BrokerConnection;
  readonly ingestConnection: BrokerConnection;
  readonly ingest: Ingest;
  readonly watch: Watch | undefined;
  readonly traces: CallerTraces;
  readonly logger: Logger;
}

/** Puts a gateway together. Nothing is connected before its lifecycle starts. */
export function createGateway(options: GatewayOptions): Gateway {
  const { config, catalogue, logger, servers = connectServers(config, logger), listen = true } = options;
  const { watch, tracing = noTracing } = options;
  const traces = createCallerTraces({ tracer: tracing.tracer, callers: config.traceCallers });
  const connection = servers.connect('publish');
  const metrics = createMetrics();
  const broker = createBrokerMetrics(metrics);
  const jobs = createJobs({ config, catalogue, servers, connection, metrics, broker, logger });
  const ingestConnection = servers.connect('ingest');
  const ingest = createIngest({
    connection: ingestConnection,
    publisher: jobs.publisher,
    producers: jobs.producers,
    admission: jobs.admission,
    bounds: jobs.bounds,
    maxBodyBytes: config.maxBodyBytes,
    prefetch: config.ingestPrefetch,
    metrics: jobs.metrics,
    // n.b. no proxy stands between producers and the broker that could take a stranger's trace away.
    traces: createCallerTraces({ tracer: tracing.tracer, callers: 'link' }),
    logger,
  });
  const parts: Parts = { config, servers, jobs, connection, ingestConnection, ingest, watch, traces, logger };
  broker.watch({
    connections: { publish: connection, ...(config.ingest && { ingest: ingestConnection }) },
    publishers: { jobs: jobs.publisher },
  });
  const stopping = new AbortController();
  const health = createHealth({ checks: healthChecks(parts), draining: stopping.signal });
  const listener = listen ? createHttp({ ...parts, catalogue, health, metrics, stopping }) : undefined;
  const backlog = createBacklog({ store: servers.store, catalogue, pools: Object.keys(config.models.pools) });
  const backlogMetrics = createBacklogMetrics({ metrics, backlog, catalogue });
  const ops = createOpsServer({
    ...config.ops,
    live: () => true,
    ready: async () => lifecycle.state === 'running' && (await health.ready()),
    detail: () => health.report(),
    metrics: () => backlogMetrics.refresh().then(() => metrics.render()),
    page: (path) => backlogPage(backlog, path),
    logger,
  });
  const lifecycle = createLifecycle([...opsParts(config, ops, metrics), ...partsInOrder(parts, listener)], logger);
  return {
    lifecycle,
    get port() {
      return listener?.port ?? 0;
    },
    get opsPort() {
      return ops.port;
    },
    jobs,
  };
}

function healthChecks({ config, servers, jobs, connection, ingest, watch }: Parts): readonly HealthCheck[] {
  const { redis, store } = servers;
  return [
    { name: 'rabbitmq', required: true, check: () => connection.state === 'connected' },
    // n.b. until its first registration nothing may be reserved.
    { name: 'fence', required: true, check: () => jobs.member.ready },
    { name: 'redis', required: true, check: async () => (await redis.ping()) === 'PONG' },
    // n.b. without PostgreSQL tenants that are loaded are still admitted, so it does not decide readiness.
    { name: 'postgres', required: false, check: () => store.ping().then(() => true) },
    // n.b. what is wrong is in the log only: these answers are for everybody.
    ...(watch ? [{ name: 'modelFiles', required: false, check: () => watch.problems.length === 0 }] : []),
    ...(config.ingest ? [{ name: 'ingest', required: false, check: () => ingest.attached }] : []),
  ];
}

/** n.b. nobody can ask where there is no ops server. */
function opsParts({ ops: { port } }: GatewayConfig, ops: OpsServer, metrics: Metrics): readonly LifecyclePart[] {
  return port === undefined
    ? []
    : [part('process metrics', createProcessMetrics(metrics, NAME)), part('ops server', ops)];
}

function partsInOrder(parts: Parts, listener: Service | undefined): readonly LifecyclePart[] {
  const { config, servers, jobs, connection, ingestConnection, ingest, watch } = parts;
  return [
    part('store', servers.store),
    { name: 'redis', start: () => startRedis(parts), stop: () => servers.redis.close() },
    { name: 'abandoned holds', stop: () => jobs.abandoned.stop() },
    part('waiter', servers.waiter),
    part('broker', connection),
    { name: 'topology', start: () => declareTopology(connection, { pools: config.models.pools }) },
    part('publisher', jobs.publisher),
    part('answers of workers', jobs.answers),
    part('notices of the time', jobs.clockNotices),
    part('prices', jobs.prices),
    { name: 'fence member', start: () => startMember(parts), stop: () => jobs.member.stop() },
    part('fence', jobs.fence),
    ...(watch ? [part('model files', watch)] : []),
    ...(config.ingest ? [part('ingest broker', ingestConnection), part('ingest', ingest)] : []),
    ...(listener ? [part('listener', listener)] : []),
  ];
}

async function startRedis({ servers, jobs }: Parts): Promise<void> {
  await servers.redis.ready(REDIS_TIMEOUT_MS);
  const sentAtMs = performance.now();
  jobs.clock.observe(await servers.redis.nowMs(), sentAtMs);
}

async function startMember({ jobs, logger }: Parts): Promise<void> {
  await jobs.member.start();
  const late = new Error(`not registered within ${MEMBER_WAIT_MS} ms`);
  await withDeadline(jobs.member.whenReady(), MEMBER_WAIT_MS, () => late).catch((error: unknown) => {
    logger.warn({ err: error }, 'no job is admitted before this gateway is registered for fences');
  });
}

function part(name: string, service: Service): LifecyclePart {
  return { name, start: () => service.start(), stop: () => service.stop() };
}
