import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { testServices, uniqueKeyPrefix } from '@sluice/local-services';
import { createLogger } from '@sluice/runtime';
import { Redis } from 'ioredis';
import { closeRedis, connectRedis, redisReady, type RedisConnectionOptions } from '../src/index.js';

export const logger = createLogger({ app: 'test', level: 'silent' });

export function redisUrl(): string {
  return testServices().redisUrl;
}

export async function openTestRedis(options: Partial<RedisConnectionOptions> = {}): Promise<Redis> {
  const redis = connectRedis({ url: redisUrl(), name: 'quota-test', logger, ...options });
  if (!(redis instanceof Redis)) throw new Error('the tests need one server, not a cluster');
  await redisReady(redis, 5_000);
  return redis;
}

/** Keys of one test file; `close` deletes them. */
export async function openTestSpace() {
  const redis = await openTestRedis();
  const keyPrefix = uniqueKeyPrefix();
  return {
    redis,
    keyPrefix,
    key: (tenantId: string, name: string) => `${keyPrefix}:{${tenantId}}:${name}`,
    async close() {
      await forget(redis, `${keyPrefix}:*`);
      await closeRedis(redis);
    },
  };
}

/** Deletes keys, as a Redis that lost its memory has. */
export async function forget(redis: Redis, pattern: string): Promise<void> {
  for await (const keys of redis.scanStream({ match: pattern, count: 1000 }) as AsyncIterable<string[]>) {
    if (keys.length > 0) await redis.unlink(...keys);
  }
}

export async function redisNowMs(redis: Redis): Promise<number> {
  const [seconds, microseconds] = await redis.time();
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}

/** Everything Redis keeps of a tenant, but for what only time changes. */
export async function everything(space: { redis: Redis; keyPrefix: string }, tenantId: string): Promise<unknown> {
  const { redis } = space;
  const keys = (await redis.keys(`${space.keyPrefix}:{${tenantId}}:*`)).sort();
  const contents = keys.map(async (key) => {
    const type = await redis.type(key);
    if (type === 'hash') return Object.entries(await redis.hgetallBuffer(key)).sort();
    return type === 'zset' ? redis.zrange(key, '0', '-1', 'WITHSCORES') : redis.get(key);
  });
  return (await Promise.all(contents)).map((content, i) => [keys[i], content]);
}

/** A TCP relay in front of Redis that can be cut, frozen and mended: a Redis that dies, hangs and comes back. */
export async function openRelay() {
  const target = new URL(redisUrl());
  const sockets = new Set<Socket>();
  let frozen = false;
  const server = createServer((client) => {
    const upstream = connect(Number(target.port || 6379), target.hostname);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('data', (data) => frozen || to.write(data));
      from.on('error', () => undefined);
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  await listen(0);
  const { port } = server.address() as AddressInfo;

  async function cut(): Promise<void> {
    const closed = server.listening && new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  }
  return {
    url: Object.assign(new URL(target), { host: `127.0.0.1:${port}` }).href,
    cut,
    mend: () => listen(port),
    freeze: () => void (frozen = true),
    thaw: () => void (frozen = false),
  };
}
