import { execFile } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Account, cleanEnvironment, createManagedProcess, type ManagedProcess } from './managed-process.js';
import { postgresGreeting, waitForAnswer } from './readiness.js';

const execute = promisify(execFile);

/** Faster than the defaults, which suit a very small machine, and as durable: `fsync` stays on. */
export const SETTINGS = {
  max_connections: '200',
  shared_buffers: '256MB',
  max_wal_size: '4GB',
};

/** What keeps a private server to itself. */
const PRIVATE_SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '', // TCP only: a socket's path may not be longer than 107 bytes
  dynamic_shared_memory_type: 'mmap', // in the data directory, so that a killed server leaves little outside it
};

export interface PostgresOptions {
  readonly server: string;
  readonly initdb: string;
  readonly port: number;
  /** For the log and the record. */
  readonly directory: string;
  /** For the cluster; created if need be, in a folder that the account may enter. */
  readonly home: string;
  readonly account: Account | undefined;
}

/**
 * A PostgreSQL cluster with the superuser `postgres`, trusting every connection over loopback, created when there is
 * none yet.
 */
export async function preparePostgres(options: PostgresOptions): Promise<ManagedProcess> {
  const { server, port, directory, home, account } = options;
  const cluster = join(home, 'cluster');
  mkdirSync(home, { recursive: true });
  if (account) chownSync(home, account.uid, account.gid);
  await createCluster(options, cluster);
  return createManagedProcess({
    command: server,
    args: ['-D', cluster, '-p', String(port), ...settingArguments()],
    workingDirectory: home,
    account,
    logFile: join(directory, 'postgres.log'),
    recordFile: join(directory, 'postgres.process.json'),
    ready: (signal) => waitForAnswer({ host: '127.0.0.1', port }, postgresGreeting, signal),
    readyTimeoutMs: 60_000, // recovery after a crash reads up to max_wal_size
    stopSignal: 'SIGINT', // "fast shutdown": ends sessions, writes a checkpoint
    discardSignal: 'SIGQUIT', // "immediate shutdown": no checkpoint, but its shared memory is given back
  });
}

/** A mark says that `initdb` came to its end; what a killed one left is removed. */
async function createCluster({ initdb, home, account }: PostgresOptions, cluster: string): Promise<void> {
  if (existsSync(`${cluster}.complete`)) return;
  rmSync(cluster, { recursive: true, force: true });
  const how = ['-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync', '--no-instructions'];
  await execute(initdb, ['-D', cluster, ...how], { cwd: home, env: cleanEnvironment(), ...account });
  writeFileSync(`${cluster}.complete`, '');
}

function settingArguments(): readonly string[] {
  return Object.entries({ ...SETTINGS, ...PRIVATE_SETTINGS }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}
