import { createBrokerConnection, createFence, createPublisher, declareTopology, type Publisher } from '@sluice/broker';
import {
  EXCHANGES,
  isServiceError,
  MESSAGE_TYPES,
  newJobId,
  QUEUES,
  workQueue,
  type AcceptedMessage,
  type CompletedMessage,
} from '@sluice/contracts';
import { createTestDatabase, createVirtualHost, testServices, uniqueKeyPrefix } from '@sluice/local-services';
import { closeRedis, connectRedis, createQuota, redisReady, type Quota, type RedisConnection } from '@sluice/quota';
import { createLogger, delay, type Logger } from '@sluice/runtime';
import { createStore, migrate, syncPrices, type Store } from '@sluice/store';
import pg from 'pg';
import { createCollector, type Collector } from '../src/collector.js';
import { readConfig } from '../src/config.js';
import { registryOf } from '../src/fence-registry.js';
import { loadEmpty, loadFromBooks, MODEL, reservationOf, scopesOf } from './limits.js';
import { acceptedMessage, onTheWire } from './messages.js';

export const POOL = 'cpu';
/** Quiet unless a test is being debugged. */
export const logger: Logger = createLogger({ app: 'test', level: process.env['TEST_LOG_LEVEL'] ?? 'silent' });

type Row = Readonly<Record<string, unknown>>;

/** What Redis says of the tenant's month. */
export interface Tokens {
  readonly held: number;
  readonly used: number;
  readonly overage: number;
}

/** One test's tenant and everything around a collector. */
export interface Bench {
  readonly tenantId: string;
  /** What a collector needs. */
  readonly environment: Readonly<Record<string, string>>;
  readonly store: Store;
  readonly quota: Quota;
  /** This test's own connection. */
  readonly redis: RedisConnection;
  /** First part of the key of everything that Redis keeps of the tenant. */
  readonly tenantKey: string;
  readonly publisher: Publisher;
  /** A job of the tenant, of 10 input tokens. */
  job(changes?: Partial<AcceptedMessage>): AcceptedMessage;
  /** Holds the tokens of a job as the gateway does, without publishing it. */
  hold(job: AcceptedMessage, holdTtlMs?: number): Promise<void>;
  /** Jobs of 10 to 19 tokens that are held. */
  heldJobs(count: number): Promise<readonly AcceptedMessage[]>;
  /** Publishes the fact of a job. */
  publish(message: AcceptedMessage | CompletedMessage): Promise<void>;
  publishRaw(type: string, body: string, messageId: string): Promise<void>;
  /** Makes a collector in this process, not yet started; it is stopped with the test. */
  collector(changes?: Readonly<Record<string, string>>): Collector;
  /** Resolves when everything that was published before is recorded. */
  passFence(): Promise<void>;
  /** Stops the collectors that were made until now. */
  endCollectors(): Promise<void>;
  query(sql: string, values?: unknown[]): Promise<readonly Row[]>;
  tokens(): Promise<Tokens>;
  /** Messages that wait in a queue and are with nobody. */
  depth(queue: string): Promise<number>;
  /** Waits until every fact has left the results queue and nothing is held, and returns the tokens. */
  settled(): Promise<Tokens>;
  /** Entries of the tenant in the ledger, and the input tokens of those that are terminal. */
  ledger(): Promise<{ reserves: number; terminals: number; entries: number; tokens: number }>;
  /** `ledger`, waiting until it has this many entries: the last batch may be delivered and not recorded yet. */
  ledgerWith(entries: number): ReturnType<Bench['ledger']>;
  /** Views of reconciliation that found something; none may. */
  discrepancies(): Promise<readonly Row[]>;
  /** Makes the holds of another tenant, made for this, something that no script can read. */
  damagedTenant(): Promise<string>;
  /** Resolves when this test's own connection to Redis works again. */
  redisIsBack(): Promise<void>;
  /** Loads the tenant from the books behind a fence, as gateways do until it is loaded; a collector must run. */
  load(): Promise<void>;
}

export interface Workbench {
  /** A tenant and a key prefix for a test. */
  begin(): Promise<Bench>;
  /** Stops the test's collectors and empties the queues. */
  end(): Promise<void>;
  close(): Promise<void>;
}

export interface WorkbenchOptions {
  /** Servers instead of those of the whole run. */
  readonly postgresUrl?: string;
  readonly redisUrl?: string;
}

/** A database and a virtual host for a file of tests. */
export async function openWorkbench(options: WorkbenchOptions = {}): Promise<Workbench> {
  const services = testServices();
  const { postgresUrl = services.postgresUrl, redisUrl = services.redisUrl } = options;
  const database = await createTestDatabase(postgresUrl);
  const host = await createVirtualHost({
    rabbitmqUrl: services.rabbitmqUrl,
    managementUrl: services.rabbitmqManagementUrl,
  });
  await migrate({ url: database.url, logger });
  const price = { model: MODEL, meter: 'input', usdPerMillion: '0.02', from: '2020-01-01T00:00:00Z' } as const;
  await syncPrices({ url: database.url, prices: [price], logger });
  const store = createStore({
    url: database.url,
    applicationName: 'test',
    poolSize: 4,
    statementTimeoutMs: 10_000,
    logger,
  });
  await store.start();
  const pool = new pg.Pool({ connectionString: database.url, max: 1 });
  // n.b. without a listener a killed server would end the test run.
  pool.on('error', () => undefined);
  const redis = connectRedis({ url: redisUrl, name: 'test', logger });
  await redisReady(redis, 5_000);
  const connection = createBrokerConnection({ url: host.url, name: 'test', logger });
  await connection.start();
  await declareTopology(connection, { pools: { [POOL]: { classes: ['standard'] } } });
  const publisher = createPublisher({ connection, deadlineMs: 5_000, logger });
  await publisher.start();
  const fence = createFence({ connection, publisher, registry: registryOf(store), timeoutMs: 5_000, logger });
  await fence.start();
  const channel = await (await connection.open(AbortSignal.timeout(5_000))).createChannel();
  const collectors: Collector[] = [];
  let tenants = 0;

  async function begin(): Promise<Bench> {
    tenants += 1;
    const tenantId = `tenant-${tenants}`;
    const keyPrefix = uniqueKeyPrefix();
    const quota = createQuota({ redis, keyPrefix, logger });
    await store.upsertTenant({ tenantId, plan: 'test', timeZone: 'UTC' });
    await loadEmpty(quota, tenantId);
    const environment = {
      SLUICE_POSTGRES_URL: database.url,
      SLUICE_REDIS_URL: redisUrl,
      SLUICE_RABBITMQ_URL: host.url,
      SLUICE_KEY_PREFIX: keyPrefix,
      SLUICE_LOG_LEVEL: logger.level,
      SLUICE_SWEEP_INTERVAL: '1h',
      SLUICE_SWEEP_GRACE: '0',
      SLUICE_DRIFT_INTERVAL: '1h',
      SLUICE_ALERT_INTERVAL: '1h',
      SLUICE_HEALTH_INTERVAL: '100ms',
    };
    const bench: Bench = {
      tenantId,
      environment,
      store,
      quota,
      redis,
      tenantKey: `${keyPrefix}:{${tenantId}}`,
      publisher,
      job: (changes = {}) => acceptedMessage({ tenantId, ...changes }),
      async hold(job, holdTtlMs = 600_000) {
        const { outcome } = await quota.reserve(reservationOf(job, holdTtlMs));
        if (outcome !== 'reserved') throw new Error(`reserve answered ${outcome}`);
      },
      async heldJobs(count) {
        const jobs = Array.from({ length: count }, (_, i) =>
          bench.job({ inputTokens: 10 + (i % 10), reservedTokens: 10 + (i % 10) }),
        );
        await Promise.all(jobs.map((job) => bench.hold(job)));
        return jobs;
      },
      publish: (message) =>
        publisher.publish({
          ...onTheWire(message),
          exchange: EXCHANGES.results,
          routingKey: 'state' in message ? MESSAGE_TYPES.completed : MESSAGE_TYPES.accepted,
          messageId: message.jobId,
        }),
      publishRaw: (type, body, messageId) =>
        publisher.publish({
          exchange: EXCHANGES.results,
          routingKey: 'test',
          type,
          messageId,
          body: Buffer.from(body),
        }),
      collector(changes = {}) {
        const collector = createCollector(readConfig({ ...environment, ...changes }), logger);
        collectors.push(collector);
        return collector;
      },
      passFence: () => fence.pass(),
      endCollectors,
      query: async (sql, values = []) => (await pool.query<Record<string, unknown>>(sql, values)).rows,
      async tokens() {
        const statuses = await quota.status(tenantId, scopesOf(acceptedMessage()));
        const month = statuses?.find(({ name }) => name === 'tokens-per-month');
        if (month === undefined) throw new Error('the tenant is not loaded');
        return { held: month.held, used: month.used, overage: month.overage };
      },
      depth: async (queue) => (await channel.checkQueue(queue)).messageCount,
      async settled() {
        await eventually(
          () => bench.depth(QUEUES.results),
          (depth) => depth === 0,
        );
        return eventually(
          () => bench.tokens(),
          ({ held }) => held === 0,
        );
      },
      async ledger() {
        const [row] = await bench.query(
          `SELECT count(*) FILTER (WHERE phase = 1)::int AS reserves,
                  count(*) FILTER (WHERE phase = 2)::int AS terminals,
                  count(*)::int AS entries,
                  coalesce(sum(input_tokens) FILTER (WHERE phase = 2), 0)::int AS tokens
           FROM ledger WHERE tenant_id = $1`,
          [tenantId],
        );
        return row as unknown as Awaited<ReturnType<Bench['ledger']>>;
      },
      ledgerWith: (entries) =>
        eventually(
          () => bench.ledger(),
          (ledger) => ledger.entries === entries,
        ),
      async discrepancies() {
        const views = await store.reconcile();
        return views.filter(({ rows }) => rows > 0).map(({ view, first }) => ({ view, first }));
      },
      async damagedTenant() {
        const damaged = `${tenantId}-damaged`;
        await loadEmpty(quota, damaged);
        await redis.hset(`${keyPrefix}:{${damaged}}:quota`, 't', 'not numbers');
        return damaged;
      },
      redisIsBack: () => redisReady(redis, 10_000),
      async load() {
        const tryOnce = async (): Promise<boolean> => {
          const ticket = await quota.beginLoad(tenantId);
          await fence.pass();
          return (await quota.load(await loadFromBooks(store, ticket))) === 'loaded';
        };
        // A gateway refuses the request, and the next one tries again.
        const attempt = () =>
          tryOnce().catch((error: unknown) => {
            if (isServiceError(error)) return false;
            throw error;
          });
        if (!(await eventually(attempt, (loaded) => loaded))) throw new Error('the tenant cannot be loaded');
      },
    };
    return bench;
  }

  async function endCollectors(): Promise<void> {
    await Promise.all(collectors.splice(0).map(({ lifecycle }) => lifecycle.stop()));
  }

  async function end(): Promise<void> {
    await endCollectors();
    for (const queue of [...Object.values(QUEUES), workQueue(POOL, 'standard')]) await channel.purgeQueue(queue);
  }

  return {
    begin,
    end,
    async close() {
      await fence.stop();
      await publisher.stop();
      await channel.close();
      await connection.stop();
      await closeRedis(redis);
      await store.stop();
      await pool.end();
      await host.drop();
      await database.drop();
    },
  };
}

/** The id of a job that was accepted at a time in Unix milliseconds. */
export function jobIdAt(acceptedAtMs: number): string {
  const time = acceptedAtMs.toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}${newJobId().slice(13)}`;
}

/** The sum that jobs are billed for when each used what it held. */
export function inputTokensOf(jobs: readonly AcceptedMessage[]): number {
  return jobs.reduce((total, { inputTokens }) => total + inputTokens, 0);
}

/** Asks again and again until the answer is right; after 20 s the last answer is left to the caller's expectation. */
export async function eventually<T>(ask: () => Promise<T>, right: (answer: T) => boolean): Promise<T> {
  const deadline = AbortSignal.timeout(20_000);
  for (;;) {
    const answer = await ask();
    if (right(answer) || deadline.aborted) return answer;
    await delay(20, deadline);
  }
}

/** The same elements in a random order. */
export function shuffled<T>(elements: readonly T[]): readonly T[] {
  return elements
    .map((element) => ({ element, rank: Math.random() }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ element }) => element);
}
