import {
  createBrokerConnection,
  createPublisher,
  declareTopology,
  type BrokerConnection,
  type Publisher,
} from '@sluice/broker';
import {
  EXCHANGES,
  MESSAGE_TYPES,
  QUEUES,
  routingKey,
  type AcceptedMessage,
  type CompletedMessage,
} from '@sluice/contracts';
import { createTestDatabase, createVirtualHost, testServices, uniqueKeyPrefix } from '@sluice/local-services';
import { connectRedis, createQuota, limitsOf, redisReady, type Limit, type Quota } from '@sluice/quota';
import { createLogger, delay, type Logger } from '@sluice/runtime';
import { createStore, migrate, type Store } from '@sluice/store';
import pg from 'pg';
import { createCollector, type Collector } from '../src/collector.js';
import { readConfig } from '../src/config.js';
import { acceptedMessage } from './messages.js';

export const TENANT = 'acme';
export const POOL = 'cpu';

/** Quiet unless a test is being debugged. */
export const logger: Logger = createLogger({ app: 'test', level: process.env['TEST_LOG_LEVEL'] ?? 'silent' });

export interface Workbench {
  readonly environment: Readonly<Record<string, string>>;
  readonly store: Store;
  readonly quota: Quota;
  readonly publisher: Publisher;
  /** Holds the tokens of a job as the gateway does, without publishing it. */
  hold(job: AcceptedMessage, holdTtlMs?: number): Promise<void>;
  /** Publishes the job; only as a fact when `asFact`. */
  accept(job: AcceptedMessage, asFact?: boolean): Promise<void>;
  complete(fact: CompletedMessage): Promise<void>;
  publishFact(type: string, body: Buffer, messageId?: string): Promise<void>;
  /** Makes a collector in this process, not yet started. */
  collector(changes?: Readonly<Record<string, string>>): Collector;
  query(sql: string, values?: unknown[]): Promise<readonly Record<string, unknown>[]>;
  /** Tokens held and used this month according to Redis. */
  tokens(): Promise<{ held: number; used: number; overage: number }>;
  /** Messages that wait in a queue and are with nobody. */
  depth(queue: string): Promise<number>;
  /** Every rule the books must obey; resolves with what they break. */
  discrepancies(): Promise<readonly Record<string, unknown>[]>;
  close(): Promise<void>;
}

export interface WorkbenchOptions {
  /** Servers instead of those of the whole run. */
  readonly postgresUrl?: string;
  readonly redisUrl?: string;
}

/** A database, virtual host and key prefix of its own, with one tenant, and everything around a collector. */
export async function openWorkbench(options: WorkbenchOptions = {}): Promise<Workbench> {
  const services = testServices();
  const { postgresUrl = services.postgresUrl, redisUrl = services.redisUrl } = options;
  const database = await createTestDatabase(postgresUrl);
  const host = await createVirtualHost({
    rabbitmqUrl: services.rabbitmqUrl,
    managementUrl: services.rabbitmqManagementUrl,
  });
  const keyPrefix = uniqueKeyPrefix();
  await migrate({ url: database.url, logger });

  const store = createStore({
    url: database.url,
    applicationName: 'test',
    poolSize: 4,
    statementTimeoutMs: 10_000,
    logger,
  });
  await store.start();
  await store.upsertTenant({ tenantId: TENANT, plan: 'test', timeZone: 'UTC' });
  const pool = new pg.Pool({ connectionString: database.url, max: 1 });
  pool.on('error', () => undefined);

  const redis = connectRedis({ url: redisUrl, name: 'test', logger });
  await redisReady(redis, 5_000);
  const quota = createQuota({ redis, keyPrefix, logger });
  const limits: readonly Limit[] = limitsOf(
    { tokensPerMinute: 1_000_000_000, tokensPerMonth: 1_000_000_000 },
    'UTC',
    Date.now(),
  );
  await quota.load({ tenantId: TENANT, limits, posted: 0, openHolds: [] });

  const connection: BrokerConnection = createBrokerConnection({ url: host.url, name: 'test', logger });
  await connection.start();
  await declareTopology(connection, { pools: { [POOL]: { classes: ['standard'] } } });
  const publisher = createPublisher({ connection, deadlineMs: 5_000, logger });
  await publisher.start();
  const collectors: Collector[] = [];

  const environment = {
    SLUICE_POSTGRES_URL: database.url,
    SLUICE_REDIS_URL: redisUrl,
    SLUICE_RABBITMQ_URL: host.url,
    SLUICE_KEY_PREFIX: keyPrefix,
    SLUICE_LOG_LEVEL: logger.level,
    SLUICE_SWEEP_INTERVAL_MS: '1h',
    SLUICE_SWEEP_GRACE_MS: '0',
    SLUICE_HEALTH_INTERVAL_MS: '100ms',
  };

  return {
    environment,
    store,
    quota,
    publisher,
    async hold(job, holdTtlMs = 600_000) {
      const { tenantId, jobId, reservedTokens: cost } = job;
      const outcome = await quota.reserve({ tenantId, jobId, owner: 'test', cost, limits, holdTtlMs, snapshot: '{}' });
      if (outcome.outcome !== 'reserved') throw new Error(`reserve answered ${outcome.outcome}`);
    },
    accept: (job, asFact = true) =>
      publisher.publish({
        exchange: asFact ? EXCHANGES.results : EXCHANGES.submissions,
        routingKey: asFact ? MESSAGE_TYPES.accepted : routingKey(POOL, job.class),
        type: MESSAGE_TYPES.accepted,
        messageId: job.jobId,
        body: Buffer.from(JSON.stringify(job)),
      }),
    complete: (fact) =>
      publisher.publish({
        exchange: EXCHANGES.results,
        routingKey: MESSAGE_TYPES.completed,
        type: MESSAGE_TYPES.completed,
        messageId: fact.jobId,
        body: Buffer.from(JSON.stringify(fact)),
      }),
    publishFact: (type, body, messageId = '') =>
      publisher.publish({ exchange: EXCHANGES.results, routingKey: 'test', type, messageId, body }),
    collector(changes = {}) {
      const collector = createCollector(readConfig({ ...environment, ...changes }), logger);
      collectors.push(collector);
      return collector;
    },
    query: async (sql, values = []) => (await pool.query<Record<string, unknown>>(sql, values)).rows,
    async tokens() {
      const statuses = await quota.status(TENANT, limits);
      const month = statuses?.find(({ name }) => name === 'tokens-per-month');
      if (month === undefined) throw new Error('the tenant is not loaded');
      return { held: month.held, used: month.used, overage: month.overage };
    },
    async depth(queue) {
      const channel = await (await connection.open(AbortSignal.timeout(5_000))).createChannel();
      const { messageCount } = await channel.checkQueue(queue);
      await channel.close();
      return messageCount;
    },
    async discrepancies() {
      const views = ['v_recon_terminal_without_reserve', 'v_recon_rollup_drift', 'v_recon_default_partition'];
      const found = await Promise.all(
        views.map((view) => pool.query<Record<string, unknown>>(`SELECT * FROM ${view}`)),
      );
      return found.flatMap(({ rows }) => rows);
    },
    async close() {
      await Promise.all(collectors.map(({ lifecycle }) => lifecycle.stop()));
      await publisher.stop();
      await connection.stop();
      redis.disconnect();
      await store.stop();
      await pool.end();
      await host.drop();
      await database.drop();
    },
  };
}

/** Accepted jobs of 10 to 19 tokens, held in Redis. */
export async function heldJobs(bench: Workbench, count: number): Promise<readonly AcceptedMessage[]> {
  const jobs = Array.from({ length: count }, (_, i) => {
    const tokens = 10 + (i % 10);
    return acceptedMessage({ inputTokens: tokens, reservedTokens: tokens });
  });
  await Promise.all(jobs.map((job) => bench.hold(job)));
  return jobs;
}

/** Asks again and again until the answer is right; after 20 s the last answer is compared by the caller's expectation. */
export async function eventually<T>(ask: () => Promise<T>, right: (answer: T) => boolean): Promise<T> {
  const deadline = AbortSignal.timeout(20_000);
  for (;;) {
    const answer = await ask();
    if (right(answer) || deadline.aborted) return answer;
    await delay(20, deadline);
  }
}

/** Waits until every fact has been taken from the results queue and settled. */
export async function settled(bench: Workbench): Promise<{ held: number; used: number; overage: number }> {
  await eventually(
    () => bench.depth(QUEUES.results),
    (depth) => depth === 0,
  );
  return eventually(
    () => bench.tokens(),
    ({ held }) => held === 0,
  );
}

/** The same elements in a random order. */
export function shuffled<T>(elements: readonly T[]): readonly T[] {
  return elements
    .map((element) => ({ element, rank: Math.random() }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ element }) => element);
}
