import { randomUUID } from 'node:crypto';
import {
  createBrokerConnection,
  createFence,
  createFenceMember,
  createPublisher,
  declareTopology,
  type FenceRegistry,
} from '@sluice/broker';
import { closeRedis, connectRedis, createJobWaiter, createQuota, redisReady } from '@sluice/quota';
import { createLifecycle, createLogger, exitOnConfigError, runApp, withDeadline } from '@sluice/runtime';
import { createStore } from '@sluice/store';
import { createAbandonedHolds } from './abandoned-holds.js';
import { createAdmission } from './admission.js';
import { createAuthentication } from './authentication.js';
import { createCancellation } from './cancellation.js';
import { loadCatalogue } from './catalogue.js';
import { loadConfig } from './config.js';
import { createFlights } from './flights.js';
import { createHoldingAnswers } from './holding-answers.js';
import { createIngest } from './ingest.js';
import { createJobClock } from './job-clock.js';
import { createJobLookup } from './job-lookup.js';
import { createJobMessages } from './job-message.js';
import { createJobPublisher } from './job-publisher.js';
import { createLearnedEstimates } from './learned-estimates.js';
import { createListener } from './listener.js';
import { createPriceBook } from './price-book.js';
import { createProducers } from './producers.js';
import { createReplay } from './replay.js';
import { createRepeatedRequests } from './repeated-requests.js';
import { createServer } from './server.js';
import { createTenantLimits } from './tenant-limits.js';
import { createTenantLoader } from './tenant-loader.js';

const NAME = 'api-gateway';
const STATEMENT_TIMEOUT_MS = 5_000;
const REDIS_TIMEOUT_MS = 10_000;
const FENCE_TIMEOUT_MS = 10_000;
/** The gateway listens after this even if PostgreSQL, where fence members register, does not answer; it is not ready then. */
const MEMBER_WAIT_MS = 5_000;

const config = await loadConfig(process.env).catch(exitOnConfigError);
const logger = createLogger({ app: NAME, level: config.logLevel });
const catalogue = await loadCatalogue(config.models, config.modelDir).catch(exitOnConfigError);

const store = createStore({
  url: config.postgresUrl,
  applicationName: NAME,
  poolSize: config.poolSize,
  statementTimeoutMs: STATEMENT_TIMEOUT_MS,
  logger,
});
const redis = connectRedis({ url: config.redisUrl, name: NAME, logger });
const quota = createQuota({ redis, keyPrefix: config.keyPrefix, logger });
const waiter = createJobWaiter({ url: config.redisUrl, keyPrefix: config.keyPrefix, logger });
const connection = createBrokerConnection({ url: config.rabbitmqUrl, name: `${NAME} publish`, logger });
const publisher = createPublisher({
  connection,
  logger,
  deadlineMs: config.publishDeadlineMs,
  maxInFlight: config.publishWindow,
});

const draining = new AbortController();
const clock = createJobClock();
const principals = { store, cacheTtlMs: config.keyCacheTtlMs, now: () => clock.now() };
const authentication = createAuthentication({ ...principals, pepper: config.apiKeyPepper });
const tenantLimits = createTenantLimits({ plans: config.plans, now: () => clock.now() });
const estimates = createLearnedEstimates();
const prices = createPriceBook({ store, refreshMs: config.priceRefreshMs, logger });
const abandoned = createAbandonedHolds({ quota, logger });

const flights = createFlights();
const registry: FenceRegistry = {
  register: (facts) => store.registerFenceMember(facts),
  members: () => store.fenceMembers(),
  forget: (memberId) => store.forgetFenceMember(memberId),
};
const member = createFenceMember({
  connection,
  publisher,
  memberId: randomUUID(),
  role: 'gateway',
  registry,
  async onDrain() {
    await flights.drain();
    await publisher.barrier();
  },
  logger,
});
const fence = createFence({ connection, publisher, registry, timeoutMs: FENCE_TIMEOUT_MS, logger });
const { idempotencyTtlMs } = config;
const loader = createTenantLoader({
  tenantLimits,
  models: catalogue.models.map(({ name }) => name),
  quota,
  store,
  fence,
  now: () => clock.now(),
  waitMs: config.loadWaitMs,
  idempotencyTtlMs,
  logger,
});
const jobPublisher = createJobPublisher({ connection, publisher, member });
const admission = createAdmission({
  catalogue,
  messages: createJobMessages({ clock, prices, estimates, tenantLimits, jobTtlMs: config.jobTtlMs }),
  tenantLimits,
  loader,
  estimates,
  clock,
  quota,
  jobPublisher,
  repeated: createRepeatedRequests({ quota, store, clock, idempotencyTtlMs, logger }),
  flights,
  abandoned,
  idempotencyTtlMs,
});

const bounds = { maxTexts: config.maxTexts, jobTtlMs: config.jobTtlMs };
const lookup = createJobLookup({ quota, store, now: () => clock.now() });
const answers = createHoldingAnswers({ connection, logger });
const cancellation = createCancellation({ lookup, publisher, waiter, answers, now: () => clock.now() });
const ingestConnection = createBrokerConnection({ url: config.rabbitmqUrl, name: `${NAME} ingest`, logger });
const ingest = createIngest({
  connection: ingestConnection,
  publisher,
  producers: createProducers(principals),
  admission,
  bounds,
  maxBodyBytes: config.maxBodyBytes,
  prefetch: config.ingestPrefetch,
  logger,
});

const server = createServer({
  jobs: {
    authentication,
    admission,
    lookup,
    cancellation,
    waiter,
    maxBodyBytes: config.maxBodyBytes,
    bounds,
    maxWaitMs: config.maxWaitMs,
    maxWaitingPolls: config.maxWaitingPolls,
    draining: draining.signal,
  },
  jobList: { authentication, store },
  account: { authentication, catalogue, tenantLimits, loader, quota, store, now: Date.now },
  admin: {
    store,
    plans: config.plans,
    catalogue,
    adminKey: config.adminKey,
    pepper: config.apiKeyPepper,
    maxBodyBytes: config.maxBodyBytes,
  },
  deadLetters: {
    store,
    replay: createReplay({ store, admission, publisher, now: () => clock.now() }),
    adminKey: config.adminKey,
    pepper: config.apiKeyPepper,
    maxBodyBytes: config.maxBodyBytes,
    draining: draining.signal,
    logger,
  },
  draining: draining.signal,
  health: {
    draining: draining.signal,
    checks: [
      { name: 'rabbitmq', required: true, check: () => connection.state === 'connected' },
      // n.b. until its first registration nothing may be reserved.
      { name: 'fence', required: true, check: () => member.ready },
      { name: 'redis', required: true, check: async () => (await redis.ping()) === 'PONG' },
      // n.b. without PostgreSQL tenants that are loaded are still admitted, so it does not decide readiness.
      { name: 'postgres', required: false, check: () => store.ping().then(() => true) },
      ...(config.ingest ? [{ name: 'ingest', required: false, check: () => ingest.attached }] : []),
    ],
  },
  logger,
});
const listener = createListener({
  server,
  host: config.host,
  port: config.port,
  shutdownDelayMs: config.shutdownDelayMs,
  draining,
});

await runApp({
  name: NAME,
  logger,
  drainTimeoutMs: config.drainTimeoutMs,
  lifecycle: createLifecycle(
    [
      { name: 'store', start: () => store.start(), stop: () => store.stop() },
      {
        name: 'redis',
        async start() {
          await redisReady(redis, REDIS_TIMEOUT_MS);
          const sentAtMs = performance.now();
          const [seconds, microseconds] = await redis.time();
          clock.observe(Number(seconds) * 1000 + Number(microseconds) / 1000, sentAtMs);
        },
        stop: () => closeRedis(redis),
      },
      { name: 'abandoned holds', stop: () => abandoned.stop() },
      { name: 'waiter', start: () => waiter.start(), stop: () => waiter.stop() },
      { name: 'broker', start: () => connection.start(), stop: () => connection.stop() },
      { name: 'topology', start: () => declareTopology(connection, { pools: config.models.pools }) },
      { name: 'publisher', start: () => publisher.start(), stop: () => publisher.stop() },
      { name: 'answers of workers', start: () => answers.start(), stop: () => answers.stop() },
      { name: 'prices', start: () => prices.start(), stop: () => prices.stop() },
      {
        name: 'fence member',
        async start() {
          await member.start();
          const late = new Error(`not registered within ${MEMBER_WAIT_MS} ms`);
          await withDeadline(member.whenReady(), MEMBER_WAIT_MS, () => late).catch((error: unknown) => {
            logger.warn({ err: error }, 'no job is admitted before this gateway is registered for fences');
          });
        },
        stop: () => member.stop(),
      },
      { name: 'fence', start: () => fence.start(), stop: () => fence.stop() },
      ...(config.ingest
        ? [
            { name: 'ingest broker', start: () => ingestConnection.start(), stop: () => ingestConnection.stop() },
            { name: 'ingest', start: () => ingest.start(), stop: () => ingest.stop() },
          ]
        : []),
      { name: 'listener', start: () => listener.start(), stop: () => listener.stop() },
    ],
    logger,
  ),
  onReady: () => ({ port: listener.port }),
});
