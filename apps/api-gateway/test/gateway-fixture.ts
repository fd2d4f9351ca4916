import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createTestDatabase, createVirtualHost, testServices, uniqueKeyPrefix } from '@sluice/local-services';
import { buildModels } from '@sluice/models';
import { createLogger } from '@sluice/runtime';
import { migrate } from '@sluice/store';
import { connect, type ChannelModel } from 'amqplib';
import { createTcpProxy, type TcpProxy } from './tcp-proxy.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const MODEL_DIR = process.env['SLUICE_MODEL_DIR'] ?? `${ROOT}.local/models`;

export const ADMIN_KEY = 'slk_admin_of_the_tests';

export interface Gateway {
  readonly url: string;
  readonly process: ChildProcess;
  /** Ends it by SIGTERM; resolves with its exit code. */
  stop(): Promise<number | null>;
}

export interface Fixture {
  readonly environment: Readonly<Record<string, string>>;
  startGateway(extra?: Readonly<Record<string, string>>): Promise<Gateway>;
  /** A port that leads to the server of this variable, with the URL that goes through it. */
  proxyOf(variable: string): Promise<{ readonly proxy: TcpProxy; readonly url: string }>;
  /** Messages waiting in a queue. */
  depth(queue: string): Promise<number>;
  /** A channel's connection for looking at what was queued. */
  readonly amqp: ChannelModel;
  close(): Promise<void>;
}

/** A database, a vhost and a key prefix of this test file's own, and gateways as real processes on them. */
export async function createFixture(): Promise<Fixture> {
  const services = testServices();
  await buildModels({ directory: MODEL_DIR });
  const database = await createTestDatabase(services.postgresUrl, {});
  await migrate({ url: database.url, logger: createLogger({ app: 'test', level: 'silent' }) });
  const vhost = await createVirtualHost({
    rabbitmqUrl: services.rabbitmqUrl,
    managementUrl: services.rabbitmqManagementUrl,
  });
  const amqp = await connect(vhost.url);
  const gateways: Gateway[] = [];
  const proxies: TcpProxy[] = [];
  const environment = {
    SLUICE_POSTGRES_URL: database.url,
    SLUICE_REDIS_URL: services.redisUrl,
    SLUICE_RABBITMQ_URL: vhost.url,
    SLUICE_KEY_PREFIX: uniqueKeyPrefix(),
    SLUICE_CONFIG_DIR: `${ROOT}config`,
    SLUICE_MODEL_DIR: MODEL_DIR,
    SLUICE_API_KEY_PEPPER: 'a pepper that only the tests use',
    SLUICE_ADMIN_KEY: ADMIN_KEY,
    SLUICE_LOG_LEVEL: 'silent',
    SLUICE_PORT: '0',
  };

  return {
    environment,
    amqp,
    async startGateway(extra = {}) {
      const gateway = await launch({ ...environment, ...extra });
      gateways.push(gateway);
      return gateway;
    },
    async proxyOf(variable) {
      const target = new URL(environment[variable as keyof typeof environment]);
      const proxy = await createTcpProxy({ host: target.hostname, port: Number(target.port) });
      proxies.push(proxy);
      return { proxy, url: Object.assign(target, { port: String(proxy.port) }).href };
    },
    async depth(queue) {
      const channel = await amqp.createChannel();
      const { messageCount } = await channel.checkQueue(queue);
      await channel.close();
      return messageCount;
    },
    async close() {
      await Promise.all(gateways.map((gateway) => gateway.stop()));
      await Promise.all(proxies.map((proxy) => proxy.close()));
      await amqp.close();
      await Promise.all([database.drop(), vhost.drop()]);
    },
  };
}

async function launch(environment: Readonly<Record<string, string>>): Promise<Gateway> {
  const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
  const child = fork(main, { env: { PATH: process.env['PATH'], ...environment } });
  const exited = once(child, 'exit');
  const ready = await Promise.race([once(child, 'message'), exited.then(() => undefined)]);
  if (!ready) throw new Error(`the gateway ended with ${child.exitCode} before it was ready`);
  const { port } = ready[0] as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    process: child,
    async stop() {
      // n.b. a second signal would force it to end with work in flight.
      if (!child.killed) child.kill('SIGTERM');
      await exited;
      return child.exitCode;
    },
  };
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

/** `fetch` with the body parsed. */
export async function send(url: string, path: string, init: RequestInit & { key?: string } = {}): Promise<Answer> {
  const { key, ...rest } = init;
  const headers = new Headers(rest.headers);
  if (key !== undefined) headers.set('authorization', `Bearer ${key}`);
  if (rest.body !== undefined && !headers.has('content-type')) headers.set('content-type', 'application/json');
  const response = await fetch(new URL(path, url), { ...rest, headers });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: text === '' ? undefined : (JSON.parse(text) as unknown),
  };
}

/** Makes a tenant with a key, through the admin API. */
export async function createTenant(url: string, tenantId: string, plan = 'demo', timeZone = 'UTC'): Promise<string> {
  const admin = { key: ADMIN_KEY };
  await send(url, `/v1/admin/tenants/${tenantId}`, {
    ...admin,
    method: 'PUT',
    body: JSON.stringify({ plan, timeZone }),
  });
  const { body } = await send(url, `/v1/admin/tenants/${tenantId}/keys`, { ...admin, method: 'POST', body: '{}' });
  return (body as { key: string }).key;
}
