import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createLogger } from '@sluice/runtime';
import { closeRedis, connectRedis, createQuota, limitsOf, redisReady, type RedisConnection } from '../src/index.js';
import { forget, logger, openRelay, openTestSpace } from './redis.js';
import { loadTenant, onTenant, reservation } from './tenants.js';

const TENANT = 'acme';
const SCOPES = onTenant(...limitsOf({ tokensPerMinute: 1000, tokensPerMonth: 1000 }, 'tenant', 'UTC', Date.now()));
let space: Awaited<ReturnType<typeof openTestSpace>>;
let relay: Awaited<ReturnType<typeof openRelay>>;
let redis: RedisConnection;
let lines: { level: string; msg: string }[];

beforeAll(async () => {
  space = await openTestSpace();
});
afterAll(() => space.close());
beforeEach(async () => {
  relay = await openRelay();
  lines = [];
  const stream = { write: (line: string) => void lines.push(JSON.parse(line) as (typeof lines)[number]) };
  const recording = createLogger({ app: 'test', level: 'info', stream });
  redis = connectRedis({ url: relay.url, name: 'quota-test', logger: recording, commandTimeoutMs: 200 });
  await redisReady(redis, 5_000);
});
afterEach(async () => {
  await closeRedis(redis);
  await relay.cut();
});

function reserve(jobId: string) {
  const quota = createQuota({ redis, keyPrefix: space.keyPrefix, logger });
  return quota.reserve(reservation(TENANT, SCOPES, { jobId }));
}

/** Not `once` of node:events, which rejects at the errors that are expected here. */
function next(event: 'reconnecting' | 'close'): Promise<void> {
  return new Promise((resolve) => void redis.once(event, () => resolve()));
}

describe('a connection', () => {
  it('rejects what is in flight and what comes later when Redis dies, and recovers with it', async () => {
    await loadTenant(createQuota({ redis, keyPrefix: space.keyPrefix, logger }), TENANT, SCOPES);
    expect(await reserve('before')).toMatchObject({ outcome: 'reserved' });

    relay.freeze();
    const inFlight = reserve('in flight').catch((error: unknown) => error);
    await relay.cut();
    expect(await inFlight).toMatchObject({ code: 'quota_unavailable', retryAfterSeconds: 1 });
    await expect(reserve('while away')).rejects.toMatchObject({ code: 'quota_unavailable' });
    await next('reconnecting');

    await forget(space.redis, `${space.keyPrefix}:*`);
    await space.redis.script('FLUSH');
    relay.thaw();
    await relay.mend();
    await redisReady(redis, 10_000);
    expect(await reserve('after')).toEqual({ outcome: 'not_loaded' });
    expect(lines.map(({ level, msg }) => `${level}: ${msg}`)).toEqual([
      'error: Redis cannot be reached, trying again',
      'info: connected to Redis again',
    ]);
  });

  it('gives a command up when Redis hangs', async () => {
    relay.freeze();
    await expect(reserve('hanging')).rejects.toMatchObject({ code: 'quota_unavailable' });
    await next('close'); // a socket that stays silent is given up too
    relay.thaw();
    await redisReady(redis, 10_000);
    expect(await redis.ping()).toBe('PONG');
  });

  it('is closed for good while it tries to reconnect, and twice', async () => {
    await relay.cut();
    await next('reconnecting');
    await Promise.all([closeRedis(redis), closeRedis(redis)]);
    await expect(redisReady(redis, 100)).rejects.toMatchObject({ code: 'quota_unavailable' });
  });

  it('opens and closes many times over', async () => {
    for (let i = 0; i < 20; i++) {
      const again = connectRedis({ url: relay.url, name: 'quota-test', logger });
      if (i % 2 === 0) await redisReady(again, 5_000);
      await closeRedis(again);
      expect(again.status).toBe('end');
    }
  });
});
