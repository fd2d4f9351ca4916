import { mkdirSync, realpathSync, rmSync } from 'node:fs';
import { createGivenServer } from './given-server.js';
import { endLeftovers } from './leftovers.js';
import { dataDirectories, type PrivateServer, startPrivateServer } from './private-servers.js';
import { findPrograms } from './programs.js';
import { SERVER_NAMES, type LocalServer, type LocalServices, type Report, type ServerName } from './server.js';
import { acquireSlot } from './slot.js';
import { SERVER_VARIABLES } from './test-services.js';

export interface LocalServicesOptions {
  /** Where private servers keep data and logs; several starts may share it, each takes a slot of its own. */
  readonly directory: string;
  /** Where server URLs are looked up; default: the environment of this process. */
  readonly environment?: NodeJS.ProcessEnv;
  /** Told what happens, for people who wait. */
  readonly report?: Report;
  /** True leaves the data for the next start in the same directory; default false: fresh servers, removed at the end. */
  readonly keepData?: boolean;
}

const STOP_TIMEOUT_MS = 20_000;

/** Finds or starts PostgreSQL, Redis and RabbitMQ; resolves when all three answer. */
export async function startLocalServices(options: LocalServicesOptions): Promise<LocalServices> {
  const { environment = process.env, report = () => undefined, keepData = false } = options;
  mkdirSync(options.directory, { recursive: true });
  const slot = acquireSlot(realpathSync(options.directory));
  const data = dataDirectories(slot.directory);
  await endLeftovers(slot.directory, Object.values(data));
  if (!keepData) removeData();

  function removeData(): void {
    for (const directory of Object.values(data)) rmSync(directory, { recursive: true, force: true });
  }

  const programs = findPrograms(environment['PATH'] ?? '');
  const given: Record<ServerName, string | undefined> = {
    rabbitmq: environment[SERVER_VARIABLES.rabbitmqUrl],
    postgres: environment[SERVER_VARIABLES.postgresUrl],
    redis: environment[SERVER_VARIABLES.redisUrl],
  };
  const started: PrivateServer[] = [];
  let managementUrl = environment[SERVER_VARIABLES.rabbitmqManagementUrl] ?? '';

  async function provide(name: ServerName): Promise<LocalServer> {
    const url = given[name];
    if (url) return createGivenServer({ name, source: 'environment', url });
    const server = await startPrivateServer(name, { programs, slotDirectory: slot.directory, report });
    started.push(server);
    managementUrl = server.managementUrl ?? managementUrl;
    return server.server;
  }

  async function stop(): Promise<void> {
    await Promise.all(started.map(({ managed }) => (keepData ? managed.stop(STOP_TIMEOUT_MS) : managed.stop(0))));
    if (!keepData) removeData();
    slot.release();
  }

  const outcomes = await Promise.allSettled(SERVER_NAMES.map(provide));
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed) {
    await stop();
    throw failed.reason;
  }
  const servers = Object.fromEntries(
    outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [[outcome.value.name, outcome.value]] : [])),
  ) as Record<ServerName, LocalServer>;
  let stopping: Promise<void> | undefined;
  return {
    servers,
    environment: {
      [SERVER_VARIABLES.postgresUrl]: servers.postgres.url,
      [SERVER_VARIABLES.redisUrl]: servers.redis.url,
      [SERVER_VARIABLES.rabbitmqUrl]: servers.rabbitmq.url,
      [SERVER_VARIABLES.rabbitmqManagementUrl]: managementUrl,
    },
    stop: () => (stopping ??= stop()),
  };
}
