import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { closeRedis, connectRedis, createQuota, redisReady, type Quota, type RedisConnection } from '../src/index.js';
import { logger } from './redis.js';
import { ownRedis } from './servers.js';
import * as tenants from './tenants.js';
import { namesOf, onTenant, openHold, quotaLimit } from './tenants.js';

const SCOPES = onTenant(quotaLimit(100));
const TENANT = 'acme';
let server: Awaited<ReturnType<typeof ownRedis>>;
let redis: RedisConnection;
let quota: Quota;
beforeEach(async () => {
  server = await ownRedis();
  await server.start();
  redis = connectRedis({ url: server.url, name: 'quota-test', logger });
  await redisReady(redis, 5_000);
  quota = createQuota({ redis, keyPrefix: 'test', logger });
});
afterEach(async () => {
  await closeRedis(redis);
  await server.close();
});

/** Kills Redis and starts it on what it had saved. */
async function restart(): Promise<void> {
  const lost = new Promise((resolve) => redis.once('close', resolve));
  await server.stop();
  await lost;
  await server.start();
  await redisReady(redis, 15_000);
}

const settlement = {
  tenantId: TENANT,
  jobId: 'job',
  tokens: 5,
  nanoUsd: 0,
  outputTokens: 0,
  state: 'succeeded',
} as const;

describe('a Redis that was restarted', () => {
  it('counts no tenant as loaded, though its old data is there', async () => {
    const { reserve, status } = await tenants.openTenant(quota, TENANT, SCOPES);
    await reserve({ jobId: 'job' });
    await server.run('SAVE');
    await reserve({ jobId: 'lost', amounts: { tokens: 50, nanoUsd: 0 } });
    await restart();
    expect(await reserve()).toEqual({ outcome: 'not_loaded' });
    expect(await status()).toBeUndefined();
    expect(await quota.inspect(TENANT)).toBeUndefined();
    expect(await quota.settle([settlement])).toEqual(['early']);
    expect((await quota.snapshot(TENANT, 'job'))?.state).toBe('succeeded');
    const openHolds = [openHold('lost', { amounts: { tokens: 50, nanoUsd: 0 } })];
    await tenants.loadTenant(quota, TENANT, SCOPES, { openHolds });
    expect(await status()).toMatchObject([{ held: 50, used: 0 }]);
  });

  it('supersedes a load that had begun before', async () => {
    const ticket = await quota.beginLoad(TENANT);
    await server.run('SAVE');
    await restart();
    const load = { ticket, scopes: [], cover: namesOf(SCOPES), posted: [], openHolds: [] };
    expect(await quota.load(load)).toBe('superseded');
    expect(await quota.status(TENANT, SCOPES)).toBeUndefined();
  });

  it('releases holds of before without touching limits', async () => {
    const { reserve, status } = await tenants.openTenant(quota, TENANT, SCOPES);
    await reserve({ jobId: 'job' });
    await server.run('SAVE');
    await restart();
    expect(await quota.release({ tenantId: TENANT, jobId: 'job', owner: 'gateway' })).toBe(true);
    await tenants.loadTenant(quota, TENANT, SCOPES);
    expect(await status()).toMatchObject([{ held: 0, used: 0 }]);
  });
});
