import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { cleanEnvironment, createManagedProcess, type ManagedProcess } from './managed-process.js';
import { amqpGreeting, managementGreeting, waitForAnswer } from './readiness.js';

const execute = promisify(execFile);
/** It starts an Erlang machine of its own, which takes seconds where cores are few. */
const CONTROL_TIMEOUT_MS = 30_000;

/** Every node has a port mapper of its own, so all may have the same name, which is also their data's. */
const NODE_NAME = 'sluice@localhost';

export interface RabbitMqPorts {
  readonly amqp: number;
  readonly management: number;
  /** Between Erlang nodes; unused by clients. */
  readonly distribution: number;
  /** Of the private port mapper (epmd). */
  readonly mapper: number;
}

export interface RabbitMqOptions {
  readonly server: string;
  readonly epmd: string;
  readonly erlangDirectory: string;
  readonly ports: RabbitMqPorts;
  /** For its logs and records. */
  readonly directory: string;
  /** For its data, cookie and settings. */
  readonly home: string;
}

/** RabbitMQ with the management plugin, user `guest`, virtual host `/`, all on loopback. */
export function prepareRabbitMq(options: RabbitMqOptions): ManagedProcess {
  mkdirSync(options.home, { recursive: true });
  const mapper = prepareMapper(options);
  const broker = prepareBroker(options);
  return {
    get pid() {
      return broker.pid;
    },
    async start() {
      if (mapper.pid === undefined) await mapper.start();
      await broker.start();
    },
    kill: broker.kill,
    pause: broker.pause,
    resume: broker.resume,
    async stop(timeoutMs) {
      await broker.stop(timeoutMs);
      await mapper.stop(timeoutMs);
    },
    async discard() {
      await broker.discard();
      await mapper.discard();
    },
  };
}

/** Runs `rabbitmqctl`, which stands beside the server, against this node and resolves with what it printed. */
export async function controlRabbitMq(options: RabbitMqOptions, args: readonly string[]): Promise<string> {
  const { server, ports, home } = options;
  const program = join(dirname(server), 'rabbitmqctl');
  const { stdout } = await execute(program, ['--quiet', '--node', NODE_NAME, ...args], {
    cwd: home,
    env: { ...cleanEnvironment(), ...nodeEnvironment(options), ERL_EPMD_PORT: String(ports.mapper) },
    timeout: CONTROL_TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  return stdout;
}

/** What the server and its tool have in common. */
function nodeEnvironment({ erlangDirectory, home }: RabbitMqOptions): Readonly<Record<string, string>> {
  return {
    PATH: `${process.env['PATH'] ?? ''}${delimiter}${erlangDirectory}`,
    HOME: home, // for the cookie
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
  };
}

/** n.b. without a mapper of our own, Erlang would start one as a daemon that outlives the broker. */
function prepareMapper({ epmd, ports, directory, home }: RabbitMqOptions): ManagedProcess {
  return createManagedProcess({
    command: epmd,
    args: ['-port', String(ports.mapper), '-address', '127.0.0.1'],
    workingDirectory: home,
    logFile: join(directory, 'epmd.log'),
    recordFile: join(directory, 'epmd.process.json'),
    // A names request (length 1, tag "n") is answered with the mapper's own port in 4 bytes.
    ready: (signal) =>
      waitForAnswer(
        { host: '127.0.0.1', port: ports.mapper },
        {
          hello: Buffer.from('\x00\x01n', 'latin1'),
          isAnswer: (reply) => reply.length >= 4 && reply.readUInt32BE(0) === ports.mapper,
        },
        signal,
      ),
    readyTimeoutMs: 10_000,
    stopSignal: 'SIGTERM',
    discardSignal: 'SIGKILL',
  });
}

function prepareBroker(options: RabbitMqOptions): ManagedProcess {
  const { server, ports, directory, home } = options;
  const settingsFile = join(home, 'rabbitmq.conf');
  const pluginsFile = join(home, 'enabled_plugins');
  writeFileSync(settingsFile, settings(ports));
  writeFileSync(pluginsFile, '[rabbitmq_management].\n');
  return createManagedProcess({
    command: server,
    args: [],
    environment: {
      ...nodeEnvironment(options),
      // The script then execs: the process we start is the broker itself, so SIGTERM and SIGKILL reach it.
      RUNNING_UNDER_SYSTEMD: 'true',
      RABBITMQ_NODENAME: NODE_NAME,
      RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
      RABBITMQ_NODE_PORT: String(ports.amqp),
      RABBITMQ_DIST_PORT: String(ports.distribution),
      ERL_EPMD_PORT: String(ports.mapper),
      ERL_EPMD_ADDRESS: '127.0.0.1',
      RABBITMQ_MNESIA_BASE: join(home, 'data'),
      RABBITMQ_LOG_BASE: join(home, 'log'),
      RABBITMQ_CONFIG_FILE: settingsFile,
      RABBITMQ_ENABLED_PLUGINS_FILE: pluginsFile,
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: erlangArguments(ports),
    },
    workingDirectory: home,
    logFile: join(directory, 'rabbitmq.log'),
    recordFile: join(directory, 'rabbitmq.process.json'),
    ready: async (signal) =>
      (await waitForAnswer({ host: '127.0.0.1', port: ports.amqp }, amqpGreeting, signal)) &&
      (await waitForAnswer({ host: '127.0.0.1', port: ports.management }, managementGreeting, signal)),
    readyTimeoutMs: 90_000,
    stopSignal: 'SIGTERM',
    discardSignal: 'SIGKILL',
  });
}

function settings(ports: RabbitMqPorts): string {
  return [
    'log.console = false',
    'log.file.level = warning',
    'disk_free_limit.absolute = 50MB',
    `management.tcp.ip = 127.0.0.1`,
    `management.tcp.port = ${ports.management}`,
    '',
  ].join('\n');
}

/**
 * Named from its start, the node finds its own name set and skips a check for which RabbitMQ would first run a second
 * Erlang machine.
 */
function erlangArguments({ distribution }: RabbitMqPorts): string {
  return [
    `-sname ${NODE_NAME}`,
    `-kernel inet_dist_listen_min ${distribution} inet_dist_listen_max ${distribution}`,
    '-kernel inet_dist_use_interface {127,0,0,1}',
  ].join(' ');
}
