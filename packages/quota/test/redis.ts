import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { testServices, uniqueKeyPrefix } from '@sluice/local-services';
import { createLogger } from '@sluice/runtime';
import type { Redis } from 'ioredis';
import { closeRedis, connectRedis, redisReady, type RedisConnectionOptions } from '../src/index.js';

export const logger = createLogger({ app: 'test', level: 'silent' });

export function redisUrl(): string {
  return testServices().redisUrl;
}

export async function openTestRedis(options: Partial<RedisConnectionOptions> = {}): Promise<Redis> {
  const redis = connectRedis({ url: redisUrl(), name: 'quota-test', logger, ...options });
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

const READ_STATE = `
local function text(packed)
  local values = { cmsgpack.unpack(packed) }
  for i, value in ipairs(values) do
    values[i] = type(value) == 'number' and string.format('%.0f', value) or tostring(value)
  end
  return table.concat(values, ' ')
end
local list = {}
local quota, holds = redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])
for i = 1, #quota, 2 do
  if quota[i] ~= 'loaded' then list[#list + 1] = { 'limit', quota[i], text(quota[i + 1]) } end
end
for i = 1, #holds, 2 do
  local key, owner, packed = string.match(holds[i + 1], '^([^\\n]*)\\n([^\\n]*)\\n(.*)$')
  list[#list + 1] = { 'hold', holds[i], key .. ' ' .. owner .. ' ' .. (packed == '' and '' or text(packed)) }
end
return list`;

/** What Redis keeps of a tenant as text: the state of each limit by name, and each hold by job id. */
export async function storedState(redis: Redis, keys: { readonly quota: string; readonly holds: string }) {
  const rows = (await redis.eval(READ_STATE, 2, keys.quota, keys.holds)) as [string, string, string][];
  const of = (kind: string) => Object.fromEntries(rows.filter((row) => row[0] === kind).map((row) => [row[1], row[2]]));
  return { limits: of('limit'), holds: of('hold') };
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
