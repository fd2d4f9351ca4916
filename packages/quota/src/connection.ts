import type { EventEmitter } from 'node:events';
import { withDeadline, type Logger } from '@sluice/runtime';
import { Cluster, Redis, type CommonRedisOptions, type RedisOptions } from 'ioredis';
import { unavailable } from './unavailable.js';

/** One Redis or a Redis Cluster; which of the two it is concerns this package only. */
export type RedisConnection = Redis | Cluster;

export interface RedisConnectionOptions {
  /** `redis://` or `rediss://` of one server; several separated by commas are the seeds of a Redis Cluster. */
  readonly url: string;
  /** Shown in Redis' client list and in the log. */
  readonly name: string;
  readonly logger: Logger;
  /** How long a command may take, in milliseconds; 2,000 when absent. */
  readonly commandTimeoutMs?: number;
}

const COMMAND_TIMEOUT_MS = 2_000;
const CONNECT_TIMEOUT_MS = 2_000;
/** How long a closing socket may take; ioredis waits this long even for one that is closed already. */
const GOODBYE_TIMEOUT_MS = 200;
const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 2_000;

/**
 * Opens a connection that would rather fail than wait: while Redis is away every command is rejected at once, nothing
 * is queued, and nothing that was sent is ever sent again (a reserve whose answer was lost may have happened).
 * Reconnects for ever, with jitter. Errors are logged when the state changes, not at each attempt.
 *
 * The connection is not usable yet on return, see `redisReady`. Close it with `closeRedis`.
 */
export function connectRedis({ url, name, logger, commandTimeoutMs }: RedisConnectionOptions): RedisConnection {
  const deadlineMs = commandTimeoutMs ?? COMMAND_TIMEOUT_MS;
  const deadlines = { commandTimeout: deadlineMs, socketTimeout: deadlineMs * 2 };
  const urls = redisUrls(url);
  return urls.length > 1 ? openCluster(urls, { name, logger }, deadlines) : openRedis({ url, name, logger }, deadlines);
}

/** The addresses of a comma-separated list. */
export function redisUrls(list: string): readonly string[] {
  return list.split(',').map((url) => url.trim());
}

/**
 * Resolves when commands can be sent. Rejects with `quota_unavailable` when that takes longer than `timeoutMs`
 * milliseconds or the connection was closed.
 */
export async function redisReady(redis: RedisConnection, timeoutMs: number): Promise<void> {
  if (redis.status === 'ready') return;
  const events: EventEmitter = redis;
  let settle = (): void => undefined;
  const ready = new Promise<void>((resolve, reject) => {
    const opened = (): void => resolve();
    const ended = (): void => reject(unavailable(new Error('the connection to Redis was closed')));
    events.once('ready', opened).once('end', ended);
    settle = () => events.off('ready', opened).off('end', ended);
    if (redis.status === 'end') ended();
  });
  try {
    await withDeadline(ready, timeoutMs, () => unavailable(new Error(`Redis did not answer within ${timeoutMs} ms`)));
  } finally {
    settle();
  }
}

type OwnOptions = Pick<CommonRedisOptions, 'commandTimeout' | 'socketTimeout' | 'autoResubscribe' | 'retryStrategy'>;

/** Closes a connection for good; resolves when it is closed. Commands in flight reject. Safe twice. */
export async function closeRedis(redis: RedisConnection): Promise<void> {
  if (redis.status === 'end') return;
  // n.b. between two attempts there is no socket: the next attempt is called off, and no 'end' will ever come.
  if (redis.status === 'reconnecting') return redis.disconnect();
  const events: EventEmitter = redis;
  await new Promise<void>((resolve) => {
    events.once('end', () => resolve());
    redis.disconnect();
  });
}

/** What every connection of this package has in common. */
function commonOptions(name: string) {
  return {
    connectionName: name,
    connectTimeout: CONNECT_TIMEOUT_MS,
    disconnectTimeout: GOODBYE_TIMEOUT_MS,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    // Measured: auto-pipelining costs a third of the throughput of scripts.
    enableAutoPipelining: false,
  } satisfies RedisOptions;
}

/** Opens a connection to one server. */
export function openRedis({ url, name, logger }: RedisConnectionOptions, options: OwnOptions): Redis {
  const redis = new Redis(url, {
    ...commonOptions(name),
    retryStrategy: retryDelayMs,
    // After a failover the old primary refuses writes: find the new one.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    ...options,
  });
  logChanges(redis, name, logger);
  return redis;
}

/** Opens a connection to one server of several; when that is lost, the next one is tried. */
export function openAny({ url, ...naming }: RedisConnectionOptions, options: OwnOptions): Redis {
  const urls = redisUrls(url);
  const redis = openRedis(
    { url: urls[0] ?? '', ...naming },
    {
      ...options,
      retryStrategy(attempt) {
        const { hostname, port } = new URL(urls[attempt % urls.length] ?? '');
        // n.b. ioredis reads its options at each attempt.
        if (urls.length > 1) Object.assign(redis.options, { host: hostname, port: Number(port || 6379) });
        return retryDelayMs(attempt);
      },
    },
  );
  return redis;
}

type ClusterNaming = Pick<RedisConnectionOptions, 'name' | 'logger'>;

/** n.b. credentials and TLS are those of the first address: the nodes of a cluster share them. */
function openCluster(urls: readonly string[], { name, logger }: ClusterNaming, options: OwnOptions): Cluster {
  const addresses = urls.map((url) => new URL(url));
  const [first] = addresses;
  const cluster = new Cluster(
    addresses.map(({ hostname, port }) => ({ host: hostname, port: Number(port || 6379) })),
    {
      clusterRetryStrategy: retryDelayMs,
      enableOfflineQueue: false,
      redisOptions: {
        ...commonOptions(name),
        ...(first?.username && { username: decodeURIComponent(first.username) }),
        ...(first?.password && { password: decodeURIComponent(first.password) }),
        ...(first?.protocol === 'rediss:' && { tls: {} }),
        ...options,
      },
    },
  );
  logChanges(cluster, name, logger);
  return cluster;
}

/**
 * Sends the commands of one turn of the event loop in one write. ioredis writes each command to the socket by itself,
 * and with many requests at once those system calls are a tenth of the gateway's time; its auto-pipelining would gather
 * them too, but costs more than it saves for scripts.
 */
export function shareWrite(redis: Redis): void {
  const { stream } = redis;
  // n.b. there is no socket between two connections.
  if (!stream || stream.writableCorked > 0) return;
  stream.cork();
  setImmediate(() => stream.uncork());
}

/** Grows from 50 ms to 2 s; a random half of it keeps many clients from coming back at once. */
export function retryDelayMs(attempt: number): number {
  const ceilingMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt - 1, 10));
  return Math.ceil(ceilingMs / 2 + (Math.random() * ceilingMs) / 2);
}

function logChanges(redis: EventEmitter, name: string, logger: Logger): void {
  let away = false;
  let cause: unknown;
  redis.on('ready', () => {
    if (away) logger.info({ redis: name }, 'connected to Redis again');
    away = false;
    cause = undefined;
  });
  redis.on('error', (error: unknown) => {
    cause = error;
  });
  // n.b. not 'close', which also comes when the connection was closed on purpose.
  redis.on('reconnecting', () => {
    if (!away) logger.error({ err: cause, redis: name }, 'Redis cannot be reached, trying again');
    away = true;
  });
}
