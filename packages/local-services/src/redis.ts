import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createManagedProcess, type ManagedProcess } from './managed-process.js';
import { redisGreeting, waitForAnswer } from './readiness.js';

/** Appended to a file that is synchronised once a second; a key is never evicted. */
export const SETTINGS = {
  save: '',
  appendonly: 'yes',
  appendfsync: 'everysec',
  'maxmemory-policy': 'noeviction',
};

export interface RedisOptions {
  readonly server: string;
  readonly port: number;
  /** For its log and record. */
  readonly directory: string;
  /** For its data. */
  readonly home: string;
}

/** A private Redis that loses at most its last second when the machine crashes, nothing when it is killed. */
export function prepareRedis({ server, port, directory, home }: RedisOptions): ManagedProcess {
  mkdirSync(home, { recursive: true });
  const settings = {
    port: String(port),
    bind: '127.0.0.1',
    dir: home,
    ...SETTINGS,
    daemonize: 'no',
  };
  return createManagedProcess({
    command: server,
    args: Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
    workingDirectory: home,
    logFile: join(directory, 'redis.log'),
    recordFile: join(directory, 'redis.process.json'),
    ready: (signal) => waitForAnswer({ host: '127.0.0.1', port }, redisGreeting(), signal),
    readyTimeoutMs: 30_000,
    stopSignal: 'SIGTERM',
    discardSignal: 'SIGKILL',
  });
}
