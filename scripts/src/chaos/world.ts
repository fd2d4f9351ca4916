import type { LocalServer, LocalServices, ServerName } from '@sluice/local-services';
import { Redis } from 'ioredis';
import pg from 'pg';
import type { AppProcess } from '../app-process.js';
import { CannotInject } from './fault.js';
import type { Keeper } from './keeper.js';
import type { Links } from './links.js';
import type { SmallDisk } from './small-disk.js';

/** Everything that faults can reach. */
export interface World {
  /** By name: `ml-worker-2`. @throws Error for any other. */
  readonly app: (name: string) => AppProcess;
  readonly server: (name: ServerName) => LocalServer;
  readonly keeper: Keeper;
  readonly links: Links;
  /** For files that faults need, such as copies of data. */
  readonly directory: string;
  /** What PostgreSQL keeps its data on; undefined where that cannot be had. */
  readonly smallDisk: SmallDisk | undefined;
  /** When RabbitMQ last began to answer, as `performance.now()` tells it. */
  rabbitmqStartedAtMs: number;
  /** Asks PostgreSQL directly, as a superuser. @throws CannotInject when it does not answer. */
  readonly withPostgres: <T>(work: (client: pg.Client) => Promise<T>) => Promise<T>;
  /** Asks Redis directly. @throws CannotInject when it does not answer. */
  readonly withRedis: <T>(work: (redis: Redis) => Promise<T>) => Promise<T>;
  /** Asks the management plugin of RabbitMQ. @throws CannotInject when it does not answer. */
  readonly management: (method: 'GET' | 'DELETE', path: string) => Promise<unknown>;
}

export interface WorldOptions extends Pick<World, 'keeper' | 'links' | 'directory' | 'smallDisk'> {
  readonly apps: readonly AppProcess[];
  readonly services: LocalServices;
}

const DIRECT_TIMEOUT_MS = 5_000;

export function createWorld({ apps, services, ...rest }: WorldOptions): World {
  const { servers, environment } = services;
  return {
    ...rest,
    rabbitmqStartedAtMs: performance.now(),
    app(name) {
      const found = apps.find((app) => app.name === name);
      if (!found) throw new Error(`there is no app ${name}`);
      return found;
    },
    server: (name) => servers[name],
    withPostgres: (work) => withPostgres(servers.postgres.url, work),
    withRedis: (work) => withRedis(servers.redis.url, work),
    management: (method, path) => manage(environment['SLUICE_RABBITMQ_MANAGEMENT_URL'] ?? '', method, path),
  };
}

async function withPostgres<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'chaos',
    connectionTimeoutMillis: DIRECT_TIMEOUT_MS,
    query_timeout: DIRECT_TIMEOUT_MS,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await work(client);
  } catch (error) {
    throw cannot('PostgreSQL', error);
  } finally {
    client.end().catch(() => undefined);
  }
}

async function withRedis<T>(url: string, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: DIRECT_TIMEOUT_MS,
    commandTimeout: DIRECT_TIMEOUT_MS,
    retryStrategy: () => null,
  });
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    return await work(redis);
  } catch (error) {
    throw cannot('Redis', error);
  } finally {
    redis.disconnect();
  }
}

async function manage(base: string, method: string, path: string): Promise<unknown> {
  const { origin, username, password } = new URL(base);
  try {
    const response = await fetch(`${origin}/api/${path}`, {
      method,
      headers: { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` },
      signal: AbortSignal.timeout(DIRECT_TIMEOUT_MS),
    });
    const text = await response.text();
    if (!response.ok && response.status !== 404) throw new Error(`status ${response.status}`);
    return text === '' || !response.ok ? undefined : (JSON.parse(text) as unknown);
  } catch (error) {
    throw cannot("RabbitMQ's management plugin", error);
  }
}

function cannot(who: string, error: unknown): CannotInject {
  return new CannotInject(`${who}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
}
