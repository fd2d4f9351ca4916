import { existsSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { directoryFor, postgresAccount } from './account.js';
import type { ManagedProcess } from './managed-process.js';
import { findFreePorts } from './ports.js';
import { preparePostgres } from './postgres.js';
import type { Programs } from './programs.js';
import { controlRabbitMq, prepareRabbitMq } from './rabbitmq.js';
import { prepareRedis } from './redis.js';
import type { LocalServer, Report, ServerName } from './server.js';

/** A server started from binaries, with what only its starter needs. */
export interface PrivateServer {
  readonly server: LocalServer;
  /** Of RabbitMQ's management plugin. */
  readonly managementUrl?: string;
  readonly managed: ManagedProcess;
}

export interface PrivateServerOptions {
  readonly programs: Programs;
  readonly slotDirectory: string;
  readonly data: DataDirectories;
  readonly report: Report;
}

/** Where a slot's servers keep their data. */
export type DataDirectories = Readonly<Record<ServerName, string>>;

interface Prepared {
  readonly managed: ManagedProcess;
  readonly url: string;
  readonly managementUrl?: string;
  readonly administer?: LocalServer['administer'];
}

/** In the slot's folder, except for a PostgreSQL whose user may not enter that. */
export function dataDirectories(slotDirectory: string): DataDirectories {
  return {
    redis: join(slotDirectory, 'redis'),
    rabbitmq: join(slotDirectory, 'rabbitmq'),
    postgres: join(directoryFor(postgresAccount(), slotDirectory), 'postgres'),
  };
}

/** What each further attempt changes: a port may have been taken meanwhile, or data of an earlier run be damaged. */
const ATTEMPTS = ['as it is', 'other ports', 'new data'] as const;

/** Starts one server in the slot and resolves when it answers. Throws what the last attempt threw. */
export async function startPrivateServer(name: ServerName, options: PrivateServerOptions): Promise<PrivateServer> {
  let reason: unknown;
  for (const attempt of ATTEMPTS) {
    if (attempt === 'new data') setDataAside(name, options);
    try {
      return await start(name, options);
    } catch (error) {
      reason = error;
      options.report({ server: name, message: `did not start: ${firstLine(error)}` });
    }
  }
  throw reason;
}

async function start(name: ServerName, options: PrivateServerOptions): Promise<PrivateServer> {
  const { managed, administer, ...urls } = await prepare(name, options);
  try {
    await managed.start();
  } catch (error) {
    await managed.discard();
    throw error;
  }
  const dataDirectory = options.data[name];
  return { ...urls, managed, server: createPrivateServer({ name, url: urls.url, dataDirectory, managed, administer }) };
}

async function prepare(name: ServerName, options: PrivateServerOptions): Promise<Prepared> {
  const { programs, slotDirectory: directory, data } = options;
  const ports = await findFreePorts(4);
  const [port = 0, management = 0, distribution = 0, mapper = 0] = ports;
  switch (name) {
    case 'redis':
      return {
        managed: prepareRedis({ ...found(programs.redis, name), port, directory, home: data.redis }),
        url: `redis://127.0.0.1:${port}`,
      };
    case 'postgres': {
      const account = postgresAccount();
      const programsOf = found(programs.postgres, name);
      return {
        managed: await preparePostgres({ ...programsOf, port, directory, home: data.postgres, account }),
        url: `postgres://postgres@127.0.0.1:${port}/postgres`,
      };
    }
    case 'rabbitmq': {
      const portsOf = { amqp: port, management, distribution, mapper };
      const programsOf = found(programs.rabbitmq, name);
      const rabbitMq = { ...programsOf, ports: portsOf, directory, home: data.rabbitmq };
      return {
        managed: prepareRabbitMq(rabbitMq),
        administer: (args) => controlRabbitMq(rabbitMq, args),
        url: `amqp://guest:guest@127.0.0.1:${port}`,
        managementUrl: `http://guest:guest@127.0.0.1:${management}`,
      };
    }
  }
}

function setDataAside(name: ServerName, { data, report }: PrivateServerOptions): void {
  if (!existsSync(data[name])) return;
  const aside = `${data[name]}.unusable`;
  rmSync(aside, { recursive: true, force: true });
  renameSync(data[name], aside);
  report({ server: name, message: `does not start on its data; kept at ${aside}, starting with new data` });
}

/** Removes the data of all servers, what was set aside included, and the folder made for PostgreSQL elsewhere. */
export function removeData(data: DataDirectories, slotDirectory: string): void {
  for (const directory of Object.values(data)) {
    rmSync(directory, { recursive: true, force: true });
    rmSync(`${directory}.unusable`, { recursive: true, force: true });
  }
  const parent = dirname(data.postgres);
  if (parent !== slotDirectory) rmSync(parent, { recursive: true, force: true });
}

interface PrivateServerParts extends Pick<LocalServer, 'name' | 'url' | 'dataDirectory'> {
  readonly managed: ManagedProcess;
  readonly administer: LocalServer['administer'] | undefined;
}

function createPrivateServer({ managed, administer, ...known }: PrivateServerParts): LocalServer {
  return {
    ...known,
    source: 'binaries',
    get pid() {
      return managed.pid;
    },
    kill: managed.kill,
    restart: managed.start,
    pause: managed.pause,
    resume: managed.resume,
    async administer(args) {
      if (!administer) throw new Error(`${known.name} has no command line tool of that kind`);
      return administer(args);
    },
  };
}

function found<T>(programs: T | undefined, name: ServerName): T {
  if (!programs) throw new Error(`the programs of ${name} were not found`);
  return programs;
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? '';
}
