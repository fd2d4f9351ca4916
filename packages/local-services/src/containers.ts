import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { endOnExit } from './exit-hook.js';
import { findFreePorts } from './ports.js';
import { SETTINGS as POSTGRES_SETTINGS } from './postgres.js';
import {
  amqpGreeting,
  type Greeting,
  managementGreeting,
  postgresGreeting,
  redisGreeting,
  waitForAnswer,
} from './readiness.js';
import { SETTINGS as REDIS_SETTINGS } from './redis.js';
import type { ServerName } from './server.js';

const execute = promisify(execFile);
const LABEL = 'dev.sluice.slot';
const PROBE_TIMEOUT_MS = 5_000;
/** Without the download of the image, which comes before. */
const READY_TIMEOUT_MS = 120_000;

interface Image {
  readonly image: string;
  /** Ports inside the container, the client's first. */
  readonly ports: readonly number[];
  readonly greetings: readonly Greeting[];
  /** Where it keeps its data. */
  readonly data: string;
  readonly options: readonly string[];
  readonly command: readonly string[];
}

const IMAGES: Readonly<Record<ServerName, Image>> = {
  postgres: {
    image: 'postgres:18',
    ports: [5432],
    greetings: [postgresGreeting],
    data: '/var/lib/postgresql',
    options: ['--env', 'POSTGRES_HOST_AUTH_METHOD=trust', '--shm-size', '512m'],
    command: ['postgres', ...Object.entries(POSTGRES_SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
  },
  redis: {
    image: 'redis:8.2',
    ports: [6379],
    greetings: [redisGreeting()],
    data: '/data',
    options: [],
    command: ['redis-server', ...Object.entries(REDIS_SETTINGS).flatMap(([name, value]) => [`--${name}`, value])],
  },
  rabbitmq: {
    image: 'rabbitmq:4-management',
    ports: [5672, 15672],
    greetings: [amqpGreeting, managementGreeting],
    data: '/var/lib/rabbitmq',
    options: ['--hostname', 'sluice'], // the node, and with it its data, is named after the host
    command: [],
  },
};

/** A server in a container of ours. */
export interface Container {
  readonly url: string;
  readonly managementUrl?: string;
  /** Removes the container, and its data unless they are kept. Safe twice. */
  stop(): Promise<void>;
}

export interface ContainerOptions {
  readonly docker: string;
  readonly slotDirectory: string;
  readonly keepData: boolean;
}

/** Whether a Docker engine answers this program. */
export async function dockerAnswers(docker: string | undefined): Promise<boolean> {
  if (docker === undefined) return false;
  const question = execute(docker, ['version', '--format', '{{.Server.Version}}'], { timeout: PROBE_TIMEOUT_MS });
  return question.then(
    () => true,
    () => false,
  );
}

/** Arguments of `docker` that start the server detached, published on these ports of 127.0.0.1 only. */
export function containerArguments(
  name: ServerName,
  ports: readonly number[],
  { slotDirectory, keepData }: Omit<ContainerOptions, 'docker'>,
): readonly string[] {
  const { image, ports: inner, data, options, command } = IMAGES[name];
  const published = inner.flatMap((port, index) => ['--publish', `127.0.0.1:${ports[index]}:${port}`]);
  const volume = keepData ? ['--volume', `${volumeName(name, slotDirectory)}:${data}`] : [];
  return ['run', '--detach', '--label', labelOf(slotDirectory), ...published, ...volume, ...options, image, ...command];
}

/** Starts the server in a container, downloading its image if needed; resolves when it answers. */
export async function startContainer(name: ServerName, options: ContainerOptions): Promise<Container> {
  const { docker } = options;
  const { ports: inner, greetings } = IMAGES[name];
  const ports = await findFreePorts(inner.length);
  const { stdout } = await execute(docker, containerArguments(name, ports, options));
  const id = stdout.trim().split('\n').at(-1) ?? '';
  const removal = ['rm', '--force', '--volumes', id];
  const forget = endOnExit(() => {
    try {
      execFileSync(docker, removal, { stdio: 'ignore' });
    } catch {
      // the engine is gone, or the container is
    }
  });
  async function stop(): Promise<void> {
    await execute(docker, removal);
    forget();
  }

  const patience = AbortSignal.timeout(READY_TIMEOUT_MS);
  const answered = await Promise.all(
    greetings.map((greeting, index) => {
      return waitForAnswer({ host: '127.0.0.1', port: ports[index] ?? 0 }, greeting, patience);
    }),
  );
  if (answered.every(Boolean)) return { ...urlsOf(name, ports), stop };
  const { stdout: log, stderr } = await execute(docker, ['logs', '--tail', '15', id]);
  await stop();
  throw new Error(`${name} in a container did not answer within ${READY_TIMEOUT_MS} ms:\n${log}${stderr}`);
}

/** Removes containers that an owner of this slot left behind because it was killed. */
export async function removeLeftContainers({
  docker,
  slotDirectory,
}: Omit<ContainerOptions, 'keepData'>): Promise<void> {
  const { stdout } = await execute(docker, ['ps', '--all', '--quiet', '--filter', `label=${labelOf(slotDirectory)}`]);
  const ids = stdout.split('\n').filter(Boolean);
  if (ids.length > 0) await execute(docker, ['rm', '--force', '--volumes', ...ids]);
}

function urlsOf(name: ServerName, [port, managementPort]: readonly number[]): Omit<Container, 'stop'> {
  switch (name) {
    case 'postgres':
      return { url: `postgres://postgres@127.0.0.1:${port}/postgres` };
    case 'redis':
      return { url: `redis://127.0.0.1:${port}` };
    case 'rabbitmq':
      return {
        url: `amqp://guest:guest@127.0.0.1:${port}`,
        managementUrl: `http://guest:guest@127.0.0.1:${managementPort}`,
      };
  }
}

function labelOf(slotDirectory: string): string {
  return `${LABEL}=${digestOf(slotDirectory)}`;
}

function volumeName(name: ServerName, slotDirectory: string): string {
  return `sluice-${name}-${digestOf(slotDirectory)}`;
}

function digestOf(slotDirectory: string): string {
  return createHash('sha256').update(slotDirectory).digest('hex').slice(0, 16);
}
