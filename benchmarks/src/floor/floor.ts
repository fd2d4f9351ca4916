import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { connect } from 'amqplib';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { sourceFile } from '../source-file.js';
import { FLOOR_QUEUES, floorKeys, QUEUE_OPTIONS } from './messages.js';

const ROLES = ['gateway', 'worker', 'collector'] as const;
type Role = (typeof ROLES)[number];

const DATABASE = 'floor';
const READY_TIMEOUT_MS = 30_000;
/** Tokens in any window; never reached. */
const AMPLE = 1e15;

export interface FloorOptions {
  /** `SLUICE_POSTGRES_URL` and so on. The floor makes a database, queues and keys of its own there. */
  readonly environment: Readonly<Record<string, string>>;
  readonly tenantIds: readonly string[];
}

/** The least that does what the suite is for, one process for each role, without any of its promises. */
export interface Floor {
  readonly url: string;
  /** Of the floor's own database. */
  readonly postgresUrl: string;
  readonly pids: Readonly<Record<Role, number>>;
  stop(): Promise<void>;
}

/** Prepares database, queues and limits, starts the three roles and waits until they work. */
export async function startFloor({ environment, tenantIds }: FloorOptions): Promise<Floor> {
  const postgresUrl = await createDatabase(environment['SLUICE_POSTGRES_URL'] ?? '');
  await createQueues(environment['SLUICE_RABBITMQ_URL'] ?? '');
  await setLimits(environment['SLUICE_REDIS_URL'] ?? '', tenantIds);
  const own = { ...process.env, ...environment, SLUICE_POSTGRES_URL: postgresUrl, NODE_ENV: 'production' };
  const children = ROLES.map((role) => [role, launch(role, own)] as const);
  const stop = async (): Promise<void> => void (await Promise.all(children.map(([, child]) => end(child))));
  try {
    const ports = await Promise.all(children.map(([role, child]) => whenReady(role, child)));
    return {
      url: `http://127.0.0.1:${ports[0]}/v1/jobs`,
      postgresUrl,
      pids: Object.fromEntries(children.map(([role, { pid }]) => [role, pid])) as Record<Role, number>,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function createDatabase(serverUrl: string): Promise<string> {
  const url = new URL(serverUrl);
  url.pathname = `/${DATABASE}`;
  await query(serverUrl, `CREATE DATABASE ${DATABASE}`);
  await query(url.href, await sourceFile('sql/floor-create-table.sql'));
  return url.href;
}

async function query(url: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query(statement).finally(() => client.end());
}

async function createQueues(url: string): Promise<void> {
  const connection = await connect(url);
  const channel = await connection.createChannel();
  for (const queue of Object.values(FLOOR_QUEUES)) await channel.assertQueue(queue, QUEUE_OPTIONS);
  await connection.close();
}

async function setLimits(url: string, tenantIds: readonly string[]): Promise<void> {
  const redis = new Redis(url);
  for (const tenantId of tenantIds) {
    await redis.hset(floorKeys(tenantId).limits, { minute: AMPLE, hour: AMPLE, day: AMPLE });
  }
  await redis.quit();
}

function launch(role: Role, environment: NodeJS.ProcessEnv): ChildProcess {
  const entry = fileURLToPath(new URL(`./${role}.js`, import.meta.url));
  return fork(entry, { env: environment, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
}

async function whenReady(role: Role, child: ChildProcess): Promise<number | undefined> {
  const ended = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`the floor's ${role} ended (${signal ?? code}) before it was ready`);
  });
  const ready = once(child, 'message', { signal: AbortSignal.timeout(READY_TIMEOUT_MS) });
  // n.b. the loser of the race rejects later, when the child is stopped.
  ended.catch(() => undefined);
  ready.catch(() => undefined);
  const [{ port }] = (await Promise.race([ready, ended])) as [{ port?: number }];
  return port;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill();
  await exited;
}
