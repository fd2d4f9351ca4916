import { createBrokerConnection, createPublisher, declareTopology } from '@sluice/broker';
import { closeRedis, connectRedis, createJobWaiter, createQuota, redisReady } from '@sluice/quota';
import { createLifecycle, createLogger, exitOnConfigError, runApp } from '@sluice/runtime';
import { createStore } from '@sluice/store';
import { createAbandonedHolds } from './abandoned-holds.js';
import { createAdmission } from './admission.js';
import { createAuthentication } from './authentication.js';
import { loadCatalogue } from './catalogue.js';
import { loadConfig } from './config.js';
import { createListener } from './listener.js';
import { createServer } from './server.js';
import { createTenantLimits } from './tenant-limits.js';

const NAME = 'api-gateway';
const STATEMENT_TIMEOUT_MS = 5_000;
const REDIS_TIMEOUT_MS = 10_000;

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
const authentication = createAuthentication({ store, pepper: config.apiKeyPepper, cacheTtlMs: config.keyCacheTtlMs });
const tenantLimits = createTenantLimits({ plans: config.plans, quota, store, now: Date.now });
const abandoned = createAbandonedHolds({ quota, logger });
const admission = createAdmission({
  catalogue,
  tenantLimits,
  quota,
  store,
  connection,
  publisher,
  abandoned,
  jobTtlMs: config.jobTtlMs,
  idempotencyTtlMs: config.idempotencyTtlMs,
  logger,
});

const server = createServer({
  jobs: {
    authentication,
    admission,
    tenantLimits,
    quota,
    store,
    waiter,
    maxBodyBytes: config.maxBodyBytes,
    bounds: { maxTexts: config.maxTexts, jobTtlMs: config.jobTtlMs },
    maxWaitMs: config.maxWaitMs,
    maxWaitingPolls: config.maxWaitingPolls,
    draining: draining.signal,
  },
  account: { authentication, catalogue, tenantLimits, quota, store, now: Date.now },
  admin: {
    store,
    plans: config.plans,
    adminKey: config.adminKey,
    pepper: config.apiKeyPepper,
    maxBodyBytes: config.maxBodyBytes,
  },
  draining: draining.signal,
  health: {
    draining: draining.signal,
    checks: [
      { name: 'rabbitmq', required: true, check: () => connection.state === 'connected' },
      { name: 'redis', required: true, check: async () => (await redis.ping()) === 'PONG' },
      // n.b. without PostgreSQL tenants that are loaded are still admitted, so it does not decide readiness.
      { name: 'postgres', required: false, check: () => store.ping().then(() => true) },
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
        start: () => redisReady(redis, REDIS_TIMEOUT_MS),
        stop: () => closeRedis(redis),
      },
      { name: 'abandoned holds', stop: () => abandoned.stop() },
      { name: 'waiter', start: () => waiter.start(), stop: () => waiter.stop() },
      { name: 'broker', start: () => connection.start(), stop: () => connection.stop() },
      { name: 'topology', start: () => declareTopology(connection, { pools: config.models.pools }) },
      { name: 'publisher', start: () => publisher.start(), stop: () => publisher.stop() },
      { name: 'listener', start: () => listener.start(), stop: () => listener.stop() },
    ],
    logger,
  ),
  onReady: () => ({ port: listener.port }),
});
