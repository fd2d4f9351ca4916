import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createManagedProcess, type ManagedProcess } from './managed-process.js';
import { redisGreeting, waitForAnswer } from './readiness.js';

export interface RedisOptions {
  readonly server: string;
  readonly port: number;
  /** For its data, log and record. */
  readonly directory: string;
}

/** Redis that keeps what it confirmed a second ago (append-only file, one fsync a second) and never evicts a key. */
export function prepareRedis({ server, port, directory }: RedisOptions): ManagedProcess {
  const dataDirectory = join(directory, 'redis');
  mkdirSync(dataDirectory, { recursive: true });
  const settings = {
    port,
    bind: '127.0.0.1',
    dir: dataDirectory,
    save: '',
    appendonly: 'yes',
    appendfsync: 'everysec',
    'maxmemory-policy': 'noeviction',
    daemonize: 'no',
  };
  return createManagedProcess({
    command: server,
    args: Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]),
    workingDirectory: dataDirectory,
    logFile: join(directory, 'redis.log'),
    recordFile: join(directory, 'redis.process.json'),
    ready: (signal) => waitForAnswer({ host: '127.0.0.1', port }, redisGreeting(), signal),
    readyTimeoutMs: 30_000,
    stopSignal: 'SIGTERM',
  });
}
