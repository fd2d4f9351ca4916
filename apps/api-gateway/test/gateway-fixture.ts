import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createTestDatabase, createVirtualHost, testServices, uniqueKeyPrefix } from '@sluice/local-services';
import { buildModels } from '@sluice/models';
import { createLogger } from '@sluice/runtime';
import { migrate, syncPrices } from '@sluice/store';
import { EXCHANGES, MESSAGE_TYPES, pricesFileSchema, type CompletedMessage } from '@sluice/contracts';
import { connect, type ChannelModel } from 'amqplib';
import { startStandInCollector, type StandInCollector } from './stand-in-collector.js';
import { createTcpProxy, type TcpProxy } from './tcp-proxy.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const MODEL_DIR = process.env['SLUICE_MODEL_DIR'] ?? `${ROOT}.local/models`;

export const ADMIN_KEY = 'slk_admin_of_the_tests';

export interface Gateway {
  readonly url: string;
  /** Of the ops server, if it was given a port. */
  readonly opsUrl: string;
  readonly process: ChildProcess;
  /** Ends it by SIGTERM; resolves with its exit code. */
  stop(): Promise<number | null>;
}

export interface FixtureOptions {
  /** Further plans, as they would stand in `config/plans.yaml`: `name: { limits: … }`, one a line. */
  readonly plans?: string;
  /** US dollars for a million input tokens, by model; in force since the beginning of 2026. */
  readonly usdPerMillion?: Readonly<Record<string, string>>;
  /** Number of the database in Redis: with one of its own a test can flush it. 0 when absent. */
  readonly redisDatabase?: number;
}

export interface Fixture {
  /** Records what is accepted; without a collector no tenant could be loaded. */
  readonly collector: StandInCollector;
  readonly environment: Readonly<Record<string, string>>;
  startGateway(extra?: Readonly<Record<string, string>>): Promise<Gateway>;
  /** A port that leads to the server of this variable, with the URL that goes through it. */
  proxyOf(variable: string): Promise<{ readonly proxy: TcpProxy; readonly url: string }>;
  /** Says how a job ended, as a worker would. */
  complete(message: CompletedMessage): Promise<void>;
  /** Messages waiting in a queue. */
  depth(queue: string): Promise<number>;
  /** A channel's connection for looking at what was queued. */
  readonly amqp: ChannelModel;
  close(): Promise<void>;
}

/** A database, a vhost and a key prefix of this test file's own, and gateways as real processes on them. */
export async function createFixture(options: FixtureOptions = {}): Promise<Fixture> {
  const services = testServices();
  await buildModels({ directory: MODEL_DIR });
  const logger = createLogger({ app: 'test', level: 'silent' });
  const database = await createTestDatabase(services.postgresUrl, {});
  await migrate({ url: database.url, logger });
  const prices = Object.entries(options.usdPerMillion ?? {}).map(([model, usdPerMillion]) => {
    return { model, meter: 'input', usdPerMillion, from: '2026-01-01T00:00:00Z' };
  });
  await syncPrices({ url: database.url, ...pricesFileSchema.parse({ prices }), logger });
  const vhost = await createVirtualHost({
    rabbitmqUrl: services.rabbitmqUrl,
    managementUrl: services.rabbitmqManagementUrl,
  });
  const amqp = await connect(vhost.url);
  const configDir = await configWith(options.plans ?? '');
  const gateways: Gateway[] = [];
  const proxies: TcpProxy[] = [];
  const environment = {
    SLUICE_POSTGRES_URL: database.url,
    SLUICE_REDIS_URL: Object.assign(new URL(services.redisUrl), { pathname: `/${options.redisDatabase ?? 0}` }).href,
    SLUICE_RABBITMQ_URL: vhost.url,
    SLUICE_KEY_PREFIX: uniqueKeyPrefix(),
    SLUICE_CONFIG_DIR: configDir,
    SLUICE_MODEL_DIR: MODEL_DIR,
    SLUICE_API_KEY_PEPPER: 'a pepper that only the tests use',
    SLUICE_ADMIN_KEY: ADMIN_KEY,
    SLUICE_LOG_LEVEL: 'silent',
    SLUICE_PORT: '0',
  };

  const collector = await startStandInCollector({
    postgresUrl: environment.SLUICE_POSTGRES_URL,
    redisUrl: environment.SLUICE_REDIS_URL,
    rabbitmqUrl: environment.SLUICE_RABBITMQ_URL,
    keyPrefix: environment.SLUICE_KEY_PREFIX,
  });

  return {
    environment,
    collector,
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
    async complete(message) {
      const channel = await amqp.createConfirmChannel();
      channel.publish(EXCHANGES.results, '', Buffer.from(JSON.stringify(message)), { type: MESSAGE_TYPES.completed });
      await channel.waitForConfirms();
      await channel.close();
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
      await collector.stop();
      await amqp.close();
      await rm(configDir, { recursive: true });
      await Promise.all([database.drop(), vhost.drop()]);
    },
  };
}

/** The configuration of the repository, with further plans. */
async function configWith(plans: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'sluice-config-'));
  await cp(`${ROOT}config`, directory, { recursive: true });
  const lines = plans.split('\n').map((line) => `  ${line}\n`);
  await writeFile(join(directory, 'plans.yaml'), lines.join(''), { flag: 'a' });
  return directory;
}

async function launch(environment: Readonly<Record<string, string>>): Promise<Gateway> {
  const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
  const child = fork(main, { env: { PATH: process.env['PATH'], ...environment } });
  const exited = once(child, 'exit');
  const ready = await Promise.race([once(child, 'message'), exited.then(() => undefined)]);
  if (!ready) throw new Error(`the gateway ended with ${child.exitCode} before it was ready`);
  const { port, opsPort } = ready[0] as { port: number; opsPort?: number };
  return {
    url: `http://127.0.0.1:${port}`,
    opsUrl: `http://127.0.0.1:${opsPort}`,
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

/** Asks the admin API; fails on a refusal. */
export async function administer(url: string, method: string, path: string, body?: unknown): Promise<unknown> {
  const init = { key: ADMIN_KEY, method, ...(body !== undefined && { body: JSON.stringify(body) }) };
  const answer = await send(url, `/v1/admin${path}`, init);
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/** Makes a tenant with a key, through the admin API. */
export async function createTenant(url: string, tenantId: string, plan = 'demo', timeZone = 'UTC'): Promise<string> {
  await administer(url, 'PUT', `/tenants/${tenantId}`, { plan, timeZone });
  return createKey(url, tenantId);
}

/** A further key of a tenant, with limits of its own. */
export async function createKey(url: string, tenantId: string, limits: unknown = {}): Promise<string> {
  const body = await administer(url, 'POST', `/tenants/${tenantId}/keys`, { limits });
  return (body as { key: string }).key;
}
