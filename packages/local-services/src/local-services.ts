import { startContainer } from './containers.js';
import { checkGivenServer, checkManagement, createGivenServer } from './given-server.js';
import { startPrivateServer } from './private-servers.js';
import type { Programs } from './programs.js';
import { type LocalServer, type LocalServices, type Report, SERVER_NAMES, type ServerName } from './server.js';
import { findSources } from './sources.js';
import { SERVER_VARIABLES } from './test-services.js';
import { openWorkspace, type Workspace } from './workspace.js';

export interface LocalServicesOptions {
  /** Where private servers keep data and logs; several starts may share it, each takes a slot of its own. */
  readonly directory: string;
  /** Where URLs of servers and PATH are looked up; default: the environment of this process. */
  readonly environment?: NodeJS.ProcessEnv;
  /** Told what happens, for people who wait. */
  readonly report?: Report;
  /** True leaves the data for the next start in the same directory; default false: fresh servers, removed at the end. */
  readonly keepData?: boolean;
}

/** A server in use, and how to end that. */
interface Provided {
  readonly server: LocalServer;
  readonly managementUrl?: string | undefined;
  readonly stop: () => Promise<void>;
}

interface Means {
  readonly workspace: Workspace;
  readonly programs: Programs;
  readonly keepData: boolean;
  readonly report: Report;
}

const STOP_TIMEOUT_MS = 20_000;

/**
 * Finds or starts PostgreSQL, Redis and RabbitMQ and resolves when all three answer. Each comes from the first of: a URL
 * in the environment, programs on this machine, packages that can be installed, a Docker container.
 *
 * @throws Error when a server that was named does not answer, or one can neither be found nor started; then nothing of
 * what was started is left.
 */
export async function startLocalServices(options: LocalServicesOptions): Promise<LocalServices> {
  const { directory, environment = process.env, report = () => undefined, keepData = false } = options;
  const { choices, programs } = await findSources(environment, report);
  const sources = SERVER_NAMES.map((name) => choices[name].source);
  const docker = sources.includes('docker') ? programs.docker : undefined;
  const isOwn = sources.some((source) => source !== 'environment');
  const workspace = isOwn ? await openWorkspace({ directory, keepData, docker }) : undefined;

  async function provide(name: ServerName): Promise<Provided> {
    const choice = choices[name];
    if (choice.source === 'environment' || !workspace) return useGiven(name, environment, report);
    const means = { workspace, programs, keepData, report };
    const startedAtMs = performance.now();
    const provided = choice.source === 'docker' ? await runInContainer(name, means) : await runPrivately(name, means);
    const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
    report({ server: name, message: `answers after ${seconds} s (started from ${choice.source})` });
    return provided;
  }

  const outcomes = await Promise.allSettled(SERVER_NAMES.map(provide));
  const provided = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  async function stop(): Promise<void> {
    await Promise.all(provided.map((each) => each.stop()));
    workspace?.close();
  }

  const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []));
  if (failures.length > 0) {
    await stop();
    throw failures.length === 1 ? failures[0] : new AggregateError(failures, failures.map(messageOf).join('\n'));
  }
  let stopping: Promise<void> | undefined;
  return { ...describe(provided), stop: () => (stopping ??= stop()) };
}

function describe(provided: readonly Provided[]): Omit<LocalServices, 'stop'> {
  const servers = Object.fromEntries(provided.map(({ server }) => [server.name, server])) as LocalServices['servers'];
  const managementUrl = provided.find((each) => each.managementUrl !== undefined)?.managementUrl;
  return {
    servers,
    environment: {
      [SERVER_VARIABLES.postgresUrl]: servers.postgres.url,
      [SERVER_VARIABLES.redisUrl]: servers.redis.url,
      [SERVER_VARIABLES.rabbitmqUrl]: servers.rabbitmq.url,
      ...(managementUrl !== undefined && { [SERVER_VARIABLES.rabbitmqManagementUrl]: managementUrl }),
    },
  };
}

async function useGiven(name: ServerName, environment: NodeJS.ProcessEnv, report: Report): Promise<Provided> {
  const url = await checkGivenServer(name, environment);
  const managementUrl = name === 'rabbitmq' ? await checkManagement(environment) : undefined;
  report({ server: name, message: 'answers (named by the environment)' });
  return {
    server: createGivenServer({ name, source: 'environment', url }),
    managementUrl,
    stop: async () => undefined,
  };
}

async function runPrivately(name: ServerName, { workspace, programs, keepData, report }: Means): Promise<Provided> {
  const { slotDirectory, data } = workspace;
  const { managed, ...started } = await startPrivateServer(name, { programs, slotDirectory, data, report });
  // Data that are removed anyway need no orderly end, which takes RabbitMQ seconds.
  return { ...started, stop: () => (keepData ? managed.stop(STOP_TIMEOUT_MS) : managed.discard()) };
}

async function runInContainer(name: ServerName, { workspace, programs, keepData, report }: Means): Promise<Provided> {
  report({ server: name, message: 'starts in a container; the first time, its image is downloaded' });
  const { slotDirectory } = workspace;
  const container = await startContainer(name, { docker: programs.docker ?? 'docker', slotDirectory, keepData });
  return { ...container, server: createGivenServer({ name, source: 'docker', url: container.url }) };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
