import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { directoryFor, postgresAccount } from './account.js';
import type { ManagedProcess } from './managed-process.js';
import { findFreePorts } from './ports.js';
import { preparePostgres } from './postgres.js';
import type { Programs } from './programs.js';
import { prepareRabbitMq } from './rabbitmq.js';
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
  readonly report: Report;
}

interface Prepared {
  readonly managed: ManagedProcess;
  readonly url: string;
  readonly managementUrl?: string;
}

/** What a second attempt changes: a port may have been taken meanwhile, or the data of an earlier run may be damaged. */
const ATTEMPTS = ['as it is', 'other ports', 'new data'] as const;

/** Starts one server in the slot and resolves when it answers. */
export async function startPrivateServer(name: ServerName, options: PrivateServerOptions): Promise<PrivateServer> {
  const { slotDirectory, report } = options;
  for (const attempt of ATTEMPTS) {
    if (attempt === 'new data') setDataAside(name, options);
    const { managed, ...urls } = await prepare(name, options);
    try {
      await managed.start();
      return { ...urls, managed, server: createPrivateServer(name, urls.url, managed) };
    } catch (error) {
      await managed.stop(0);
      if (attempt === ATTEMPTS.at(-1)) throw error;
      report({ server: name, message: `did not start (see ${slotDirectory}), trying again` });
    }
  }
  throw new Error('not reached');
}

async function prepare(
  name: ServerName,
  { programs, slotDirectory: directory }: PrivateServerOptions,
): Promise<Prepared> {
  switch (name) {
    case 'redis': {
      const [port] = await findFreePorts(1);
      return {
        managed: prepareRedis({ ...found(programs.redis, name), port: known(port), directory }),
        url: `redis://127.0.0.1:${port}`,
      };
    }
    case 'postgres': {
      const [port] = await findFreePorts(1);
      const account = postgresAccount();
      const dataParent = directoryFor(account, directory);
      const programsOf = found(programs.postgres, name);
      return {
        managed: await preparePostgres({ ...programsOf, port: known(port), directory, dataParent, account }),
        url: `postgres://postgres@127.0.0.1:${port}/postgres`,
      };
    }
    case 'rabbitmq': {
      const [amqp, management, distribution, mapper] = (await findFreePorts(4)).map(known);
      const ports = {
        amqp: known(amqp),
        management: known(management),
        distribution: known(distribution),
        mapper: known(mapper),
      };
      return {
        managed: prepareRabbitMq({ ...found(programs.rabbitmq, name), ports, directory }),
        url: `amqp://guest:guest@127.0.0.1:${amqp}`,
        managementUrl: `http://guest:guest@127.0.0.1:${management}`,
      };
    }
  }
}

/** Where the data of a slot's servers lie: in the slot, but for a PostgreSQL user who may not enter it. */
export function dataDirectories(slotDirectory: string): Readonly<Record<ServerName, string>> {
  return {
    redis: join(slotDirectory, 'redis'),
    rabbitmq: join(slotDirectory, 'rabbitmq'),
    postgres: join(directoryFor(postgresAccount(), slotDirectory), 'postgres'),
  };
}

function setDataAside(name: ServerName, { slotDirectory, report }: PrivateServerOptions): void {
  const directory = dataDirectories(slotDirectory)[name];
  if (!existsSync(directory)) return;
  const aside = `${directory}.unusable`;
  rmSync(aside, { recursive: true, force: true });
  renameSync(directory, aside);
  report({ server: name, message: `does not start on its data; kept at ${aside}, starting with new data` });
}

function createPrivateServer(name: ServerName, url: string, managed: ManagedProcess): LocalServer {
  return {
    name,
    source: 'binaries',
    url,
    get pid() {
      return managed.pid;
    },
    kill: managed.kill,
    restart: managed.start,
    pause: managed.pause,
    resume: managed.resume,
  };
}

function found<T>(programs: T | undefined, name: ServerName): T {
  if (!programs) throw new Error(`the programs of ${name} were not found`);
  return programs;
}

function known(port: number | undefined): number {
  if (port === undefined) throw new Error('no free port was found');
  return port;
}
