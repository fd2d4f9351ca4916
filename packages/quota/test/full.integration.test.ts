import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { closeRedis, connectRedis, createQuota, redisReady, type Quota, type RedisConnection } from '../src/index.js';
import { logger } from './redis.js';
import { ownRedis } from './servers.js';
import * as tenants from './tenants.js';
import { inFlightLimit, onTenant, quotaLimit } from './tenants.js';

const SCOPES = onTenant(quotaLimit(100), inFlightLimit(9));
const TENANT = 'acme';
let server: Awaited<ReturnType<typeof ownRedis>>;
let redis: RedisConnection;
let quota: Quota;
beforeEach(async () => {
  server = await ownRedis(['--maxmemory-policy', 'noeviction']);
  await server.start();
  redis = connectRedis({ url: server.url, name: 'quota-test', logger });
  await redisReady(redis, 5_000);
  quota = createQuota({ redis, keyPrefix: 'test', logger });
});
afterEach(async () => {
  await closeRedis(redis);
  await server.close();
});

const fill = () => server.run('CONFIG', 'SET', 'maxmemory', '1');
const settlement = { tenantId: TENANT, nanoUsd: 0, outputTokens: 0, state: 'succeeded' as const };

describe('a Redis whose memory is full', () => {
  it('refuses to hold more, and goes on ending holds', async () => {
    const { reserve, settle, status } = await tenants.openTenant(quota, TENANT, SCOPES);
    for (const jobId of ['settled', 'released', 'dropped']) await reserve({ jobId, learn: true });
    await fill();
    await expect(reserve()).rejects.toMatchObject({ code: 'quota_unavailable' });
    expect(await settle('settled', 5, 0, 3)).toEqual(['settled']);
    expect(await quota.release({ tenantId: TENANT, jobId: 'released', owner: 'gateway' })).toBe(true);
    expect(await quota.dropHold({ tenantId: TENANT, jobId: 'dropped' })).toBe(true);
    expect(await status()).toMatchObject([{ used: 5, held: 0 }, { held: 0 }]);
    expect((await quota.snapshot(TENANT, 'settled'))?.state).toBe('succeeded');
    expect(await quota.expiredHolds({ nowMs: Date.now() + tenants.DAY_MS, limit: 9 })).toEqual([]);
  });

  it('takes note of what is settled during a load', async () => {
    const ticket = await quota.beginLoad(TENANT);
    await fill();
    expect(await quota.settle([{ ...settlement, jobId: 'early', tokens: 7 }])).toEqual(['early']);
    await server.run('CONFIG', 'SET', 'maxmemory', '0');
    const openHolds = [tenants.openHold('early')];
    await quota.load({ ticket, scopes: SCOPES, cover: tenants.namesOf(SCOPES), posted: [], openHolds });
    expect(await quota.status(TENANT, SCOPES)).toMatchObject([{ used: 7, held: 0 }, { held: 0 }]);
  });
});
