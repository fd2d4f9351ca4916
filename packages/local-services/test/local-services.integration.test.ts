import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client } from 'pg';
import {
  createTestDatabase,
  createVirtualHost,
  type LocalServices,
  type ServerName,
  startLocalServices,
} from '../src/index.js';
import { fallbackFor } from '../src/account.js';
import setup from '../src/jest-global-setup.js';
import teardown from '../src/jest-global-teardown.js';
import { identify, type ProcessIdentity, processesIn, waitUntilGone } from '../src/process-table.js';
import { answers } from '../src/readiness.js';

const NAMES = ['postgres', 'redis', 'rabbitmq'] as const;
const SERVER_PROGRAMS = new Set(['postgres', 'redis-server', 'beam.smp', 'epmd', 'erl_child_setup', 'inet_gethost']);
const LONG_MS = 120_000;

let root: string;
let shared: LocalServices;
/** The shared servers' RabbitMQ, which takes longest to start, given to the starts that do not need their own. */
let borrowed: NodeJS.ProcessEnv;

beforeAll(async () => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'sluice-services-test-')));
  // mkdtemp makes a folder that nobody else may enter: PostgreSQL's user neither, so this also tries the other place.
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SLUICE_')));
  shared = await startLocalServices({ directory: join(root, 'shared'), environment: clean });
  const { SLUICE_RABBITMQ_URL, SLUICE_RABBITMQ_MANAGEMENT_URL } = shared.environment;
  borrowed = { ...clean, SLUICE_RABBITMQ_URL, SLUICE_RABBITMQ_MANAGEMENT_URL };
}, LONG_MS);

afterAll(async () => {
  const left = [...processesOf(shared), ...processesIn(root, SERVER_PROGRAMS)];
  await shared.stop();
  await shared.stop();
  expect(await waitUntilGone(left, 0)).toBe(true);
  expect(processesIn(root, SERVER_PROGRAMS)).toEqual([]);
  expect(readdirSync(join(root, 'shared/slot-1')).filter((name) => !/\.log$|^lock-\d+$/.test(name))).toEqual([]);
  for (const name of readdirSync(root)) {
    rmSync(fallbackFor(join(root, name, 'slot-1')), { recursive: true, force: true });
  }
  rmSync(root, { recursive: true });
}, LONG_MS);

describe('startLocalServices', () => {
  it('starts what the environment does not name and says where each server comes from', () => {
    for (const name of NAMES) {
      expect(shared.servers[name]).toMatchObject({ name, source: 'binaries', pid: expect.any(Number) });
    }
    expect(Object.keys(shared.environment).sort()).toEqual([
      'SLUICE_POSTGRES_URL',
      'SLUICE_RABBITMQ_MANAGEMENT_URL',
      'SLUICE_RABBITMQ_URL',
      'SLUICE_REDIS_URL',
    ]);
  });

  it('starts beside another in the same directory, on fresh data, and leaves the other alone when it stops', async () => {
    const second = await start('shared');
    expect(second.servers.redis.url).not.toBe(shared.servers.redis.url);
    await redis(second, 'SET mine 1', '+OK');
    await redis(shared, 'GET mine', '$-1');
    const own = processesOf(second);
    expect(own.length).toBe(2);
    await second.stop();
    expect(await waitUntilGone(own, 0)).toBe(true);
    await redis(shared, 'PING', '+PONG');
  });

  it('uses the servers that the environment names, and starts and creates nothing', async () => {
    const directory = join(root, 'unused');
    const services = await startLocalServices({ directory, environment: shared.environment });
    expect(services.environment).toEqual(shared.environment);
    expect(services.servers.redis).toMatchObject({ source: 'environment', pid: undefined });
    await expect(services.servers.redis.kill()).rejects.toThrow(/environment/);
    await services.stop();
    expect(existsSync(directory)).toBe(false);
    await redis(shared, 'PING', '+PONG');
  });

  it('names every variable that does not lead to such a server, and no password', async () => {
    const environment = {
      SLUICE_POSTGRES_URL: 'postgres://me:hidden@127.0.0.1:1/db',
      SLUICE_REDIS_URL: 'hidden',
      SLUICE_RABBITMQ_URL: 'amqp://me:hidden@127.0.0.1:1',
    };
    const failure = await startLocalServices({ directory: join(root, 'unused'), environment }).catch(String);
    for (const variable of Object.keys(environment)) expect(failure).toContain(variable);
    expect(failure).not.toContain('hidden');
  });

  it('tries the credentials of the management plugin', async () => {
    const { host } = new URL(shared.environment['SLUICE_RABBITMQ_MANAGEMENT_URL'] ?? '');
    const environment = { ...shared.environment, SLUICE_RABBITMQ_MANAGEMENT_URL: `http://guest:hidden@${host}` };
    const failure = await startLocalServices({ directory: join(root, 'unused'), environment }).catch(String);
    expect(failure).toMatch(/SLUICE_RABBITMQ_MANAGEMENT_URL: .*status 401/);
    expect(failure).not.toContain('hidden');
  });

  it('keeps data for the next start when asked to, and only then', async () => {
    const first = await start('kept', true);
    await redis(first, 'SET kept 1', '+OK');
    await query(first, 'CREATE TABLE kept (id int)');
    await first.stop();
    const second = await start('kept', true);
    await redis(second, 'GET kept', '$1\r\n1');
    await query(second, 'SELECT FROM kept');
    await second.stop();
    const fresh = await start('kept');
    await redis(fresh, 'GET kept', '$-1');
    await expect(query(fresh, 'SELECT FROM kept')).rejects.toThrow(/does not exist/);
    await fresh.stop();
  });

  it('sets data aside on which a server does not start, and starts on new ones', async () => {
    const first = await start('damaged', true);
    const [dataDirectory] = await query(first, 'SHOW data_directory');
    await first.stop();
    writeFileSync(join(String(dataDirectory?.['data_directory']), 'global/pg_control'), 'damaged');
    const messages: string[] = [];
    const second = await start('damaged', true, messages);
    await query(second, 'SELECT');
    expect(messages.join('\n')).toMatch(/kept at .*postgres\.unusable/);
    await second.stop();
  });
});

describe('a server of ours', () => {
  it.each(NAMES)(
    'keeps its data when %s is killed and restarted',
    async (name) => {
      const server = shared.servers[name];
      const before = server.pid;
      await writes[name]();
      await server.kill();
      expect(server.pid).toBeUndefined();
      await server.restart();
      expect(server.pid).not.toBe(before);
      await reads[name]();
    },
    LONG_MS,
  );

  it.each(NAMES)('does not answer while %s is paused, and goes on when it is resumed', async (name) => {
    const server = shared.servers[name];
    await reads[name]();
    server.pause();
    const reading = reads[name]().then(() => 'answered');
    expect(stateOf(server.pid)).toBe('T');
    server.resume();
    expect(await reading).toBe('answered');
    expect(stateOf(server.pid)).not.toBe('T');
  });

  it(
    'lets its own tool be run where it has one',
    async () => {
      const { rabbitmq, redis } = shared.servers;
      await rabbitmq.administer(['set_disk_free_limit', '100000GB']);
      expect(await rabbitmq.administer(['status', '--formatter', 'json'])).toContain('disk');
      await rabbitmq.administer(['set_disk_free_limit', '50MB']);
      await expect(rabbitmq.administer(['set_disk_free_limit', 'nonsense'])).rejects.toThrow(/nonsense/);
      await expect(redis.administer(['ping'])).rejects.toThrow(/redis has no/);
    },
    LONG_MS,
  );

  it('says where it keeps its data', () => {
    expect(existsSync(join(shared.servers.redis.dataDirectory ?? '', 'appendonlydir'))).toBe(true);
    expect(existsSync(join(shared.servers.postgres.dataDirectory ?? '', 'cluster'))).toBe(true);
  });

  it('can be stopped while it is killed or paused', async () => {
    const services = await start('half');
    const own = processesOf(services);
    await services.servers.redis.kill();
    services.servers.postgres.pause();
    await services.stop();
    expect(await waitUntilGone(own, 0)).toBe(true);
  });
});

describe('servers left running', () => {
  it(
    'are ended by the next start in the same directory when their owner was killed',
    async () => {
      const owner = ownerProcess('orphaned', {});
      const left = await identitiesFrom(owner);
      expect(left).toHaveLength(3);
      owner.kill('SIGKILL');
      await once(owner, 'exit');
      expect(await waitUntilGone(left, 0)).toBe(false);
      const next = await start('orphaned');
      expect(await waitUntilGone(left, 0)).toBe(true);
      expect(processesIn(join(root, 'orphaned'), SERVER_PROGRAMS)).toHaveLength(1); // Redis; PostgreSQL's data lie elsewhere
      expect(readdirSync(join(root, 'orphaned'))).toEqual(['slot-1']);
      await next.stop();
    },
    LONG_MS,
  );

  it.each(['exit', 'SIGTERM'])('are ended by their owner on %s', async (how) => {
    const owner = ownerProcess('ended', borrowed);
    const left = await identitiesFrom(owner);
    if (how === 'exit') owner.send('exit');
    else owner.kill('SIGTERM');
    const [code, signal] = (await once(owner, 'exit')) as [number | null, string | null];
    expect(how === 'exit' ? code : signal).toBe(how === 'exit' ? 3 : 'SIGTERM');
    expect(await waitUntilGone(left, 10_000)).toBe(true);
  });
});

describe('isolation for tests', () => {
  it('leaves servers of the environment alone in jest, setup and teardown', async () => {
    const before = { ...process.env };
    Object.assign(process.env, shared.environment);
    await setup();
    expect(process.env).toMatchObject(shared.environment);
    await teardown();
    await teardown();
    expect(process.env).toMatchObject(shared.environment);
    for (const name of Object.keys(shared.environment)) delete process.env[name];
    Object.assign(process.env, before);
    await redis(shared, 'PING', '+PONG');
  });

  it('gives a database of its own, empty or from a template', async () => {
    const postgresUrl = shared.servers.postgres.url;
    const template = await createTestDatabase(postgresUrl);
    await queryAt(template.url, 'CREATE TABLE seen (id int)');
    const copy = await createTestDatabase(postgresUrl, { template: new URL(template.url).pathname.slice(1) });
    await queryAt(copy.url, 'SELECT FROM seen');
    const open = new Client(copy.url);
    open.on('error', () => undefined); // it is cut off by the drop
    await open.connect();
    for (const database of [copy, copy, template]) await database.drop();
    await expect(queryAt(copy.url, 'SELECT')).rejects.toThrow(/does not exist/);
  });

  it('gives a virtual host of its own, in which the user may work', async () => {
    const managementUrl = shared.environment['SLUICE_RABBITMQ_MANAGEMENT_URL'] ?? '';
    const host = await createVirtualHost({ rabbitmqUrl: shared.servers.rabbitmq.url, managementUrl });
    expect(new URL(host.url).pathname).toBe(`/${host.name}`);
    expect(await management('PUT', `queues/${host.name}/q`, { durable: true })).toBe(201);
    await host.drop();
    await host.drop();
    expect(await management('GET', `vhosts/${host.name}`)).toBe(404);
  });
});

const writes: Record<ServerName, () => Promise<unknown>> = {
  redis: () => redis(shared, 'SET survivor yes', '+OK'),
  postgres: () => query(shared, 'CREATE TABLE survivor (id int)'),
  rabbitmq: () => management('PUT', 'queues/%2F/survivor', { durable: true, arguments: { 'x-queue-type': 'quorum' } }),
};

const reads: Record<ServerName, () => Promise<unknown>> = {
  redis: () => redis(shared, 'GET survivor', '$3\r\nyes'),
  postgres: () => query(shared, 'SELECT FROM survivor'),
  rabbitmq: async () => expect(await management('GET', 'queues/%2F/survivor')).toBe(200),
};

function start(name: string, keepData = false, messages: string[] = []): Promise<LocalServices> {
  return startLocalServices({
    directory: join(root, name),
    environment: borrowed,
    keepData,
    report: ({ message }) => messages.push(message),
  });
}

async function redis(services: LocalServices, command: string, expected: string): Promise<void> {
  const { hostname: host, port } = new URL(services.servers.redis.url);
  const isAnswer = (reply: Buffer) => reply.toString().startsWith(expected);
  expect(await answers({ host, port: Number(port) }, { hello: Buffer.from(`${command}\r\n`), isAnswer })).toBe(true);
}

function query(services: LocalServices, statement: string) {
  return queryAt(services.servers.postgres.url, statement);
}

async function queryAt(url: string, statement: string): Promise<readonly Record<string, unknown>[]> {
  const client = new Client(url);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(statement)).rows;
  } finally {
    await client.end();
  }
}

async function management(method: string, path: string, body?: object): Promise<number> {
  const { origin } = new URL(shared.environment['SLUICE_RABBITMQ_MANAGEMENT_URL'] ?? '');
  const response = await fetch(`${origin}/api/${path}`, {
    method,
    headers: { authorization: `Basic ${btoa('guest:guest')}`, 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  });
  await response.arrayBuffer();
  return response.status;
}

/** The scheduler's state of a process: T is stopped. */
function stateOf(pid: number | undefined): string | undefined {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat[stat.lastIndexOf(')') + 2];
}

function processesOf(services: LocalServices): readonly ProcessIdentity[] {
  return NAMES.flatMap((name) => identify(services.servers[name].pid ?? 0) ?? []);
}

/** A process that starts servers with the built package and tells their process ids. */
function ownerProcess(name: string, environment: NodeJS.ProcessEnv): ChildProcess {
  const clean = Object.fromEntries(Object.entries(process.env).filter(([variable]) => !variable.startsWith('SLUICE_')));
  return fork(new URL('./owner.mjs', import.meta.url), [join(root, name)], {
    env: { ...clean, ...environment },
    execArgv: [],
  });
}

async function identitiesFrom(owner: ChildProcess): Promise<readonly ProcessIdentity[]> {
  const [pids] = (await once(owner, 'message')) as [readonly number[]];
  return pids.flatMap((pid) => identify(pid) ?? []);
}
