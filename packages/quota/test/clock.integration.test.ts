import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createQuota, type Limit, type Quota } from '../src/index.js';
import { everything, logger, openTestSpace, redisNowMs } from './redis.js';
import * as tenants from './tenants.js';
import { DAY_MS, longPeriod, onTenant, quotaLimit, rateLimit } from './tenants.js';

let space: Awaited<ReturnType<typeof openTestSpace>>;
let quota: Quota;
let count = 0;
beforeAll(async () => {
  space = await openTestSpace();
  quota = createQuota({ redis: space.redis, keyPrefix: space.keyPrefix, logger });
});
afterAll(() => space.close());

const HOUR_MS = 3_600_000;
const open = (...limits: Limit[]) => tenants.openTenant(quota, `tenant-${count++}`, onTenant(...limits));

/** Moves times of the tenant's scope, as a clock that was ahead has left them. */
async function move(tenantId: string, byMs: number, indexes: readonly number[]): Promise<void> {
  const key = space.key(tenantId, 'quota');
  const packed = (await space.redis.hgetBuffer(key, 't')) ?? Buffer.alloc(0);
  for (const index of indexes) packed.writeDoubleLE(packed.readDoubleLE(8 * index) + byMs, 8 * index);
  await space.redis.hset(key, 't', packed);
}
const AT = 2;

describe("a job that the ledger dates otherwise than Redis' clock", () => {
  it.each([
    ['before the period', -2 * DAY_MS],
    ['after it', 2 * DAY_MS],
  ])('is stale when its time lies %s, and consumes nothing', async (_, offMs) => {
    const { reserve, tenantId } = await open(quotaLimit(10), rateLimit(10));
    await reserve();
    const before = await everything(space, tenantId);
    const acceptedAtMs = Date.now() + offMs;
    const stale = await reserve({ acceptedAtMs });
    const { startsAtMs, endsAtMs } = longPeriod();
    const waitMs = offMs < 0 ? startsAtMs - acceptedAtMs : endsAtMs - (await redisNowMs(space.redis));
    expect(stale).toMatchObject({ outcome: 'stale' });
    expect(Math.abs((stale.outcome === 'stale' ? stale.clearsInMs : 0) - waitMs)).toBeLessThan(HOUR_MS);
    expect(await everything(space, tenantId)).toEqual(before);
  });

  it('is stale in a period of its caller that has not begun', async () => {
    const { startsAtMs, endsAtMs, nextEndsAtMs, ...ids } = longPeriod();
    const period = {
      ...ids,
      ...{
        startsAtMs: startsAtMs + 2 * DAY_MS,
        endsAtMs: endsAtMs + 2 * DAY_MS,
        nextEndsAtMs: nextEndsAtMs + DAY_MS * 2,
      },
    };
    const { reserve } = await open(quotaLimit(10, { period }));
    expect(await reserve({ acceptedAtMs: period.startsAtMs })).toMatchObject({ outcome: 'stale' });
  });

  it('counts by its own time within the period, and stands on no other limit', async () => {
    const { reserve, settle, status, tenantId } = await open(quotaLimit(10));
    const acceptedAtMs = Date.now() - HOUR_MS;
    expect(await reserve({ jobId: 'a', acceptedAtMs })).toMatchObject({ outcome: 'reserved' });
    expect((await quota.inspect(tenantId))?.holds.get('a')).toMatchObject({ acceptedAtMs });
    await settle('a', 4);
    expect(await status()).toMatchObject([{ used: 4, held: 0 }]);
    const rates = await open(rateLimit(10));
    expect(await rates.reserve({ acceptedAtMs: 1 })).toMatchObject({ outcome: 'reserved' });
  });
});

describe("a clock of Redis' that was set back", () => {
  it('by an hour leaves buckets refilling from now on, and is told as it is', async () => {
    const { reserve, settle, status, tenantId } = await open(rateLimit(1_000, { windowMs: 1_000 }));
    await reserve({ jobId: 'a', amounts: { tokens: 900, nanoUsd: 0 } });
    await move(tenantId, HOUR_MS, [AT]);
    const refused = await reserve({ amounts: { tokens: 1_000, nanoUsd: 0 } });
    const now = await redisNowMs(space.redis);
    if (!('nowMs' in refused)) throw new Error(refused.outcome);
    expect(Math.abs(refused.nowMs - now)).toBeLessThan(HOUR_MS / 2);
    await reserve();
    expect((await quota.inspect(tenantId))?.limits[0]?.atMs).toBeLessThan(now + HOUR_MS / 2);
    await move(tenantId, HOUR_MS, [AT]);
    await settle('a', 900);
    expect((await quota.inspect(tenantId))?.limits[0]?.atMs).toBeLessThan(now + HOUR_MS / 2);
    await move(tenantId, HOUR_MS, [AT]);
    expect((await status())?.[0]?.resetsInMs).toBeLessThanOrEqual(1_000);
  });

  it('by a second stands still until it has caught up', async () => {
    const { reserve, tenantId } = await open(rateLimit(1_000));
    await reserve();
    await move(tenantId, 1_500, [AT]);
    const atMs = (await quota.inspect(tenantId))?.limits[0]?.atMs ?? 0;
    await reserve();
    expect((await quota.inspect(tenantId))?.limits[0]?.atMs).toBeGreaterThanOrEqual(atMs);
  });

  it('out of a period that had begun makes the tenant be loaded, for the ledger knows the one before', async () => {
    const { reserve, tenantId, scopes } = await open(quotaLimit(10));
    await reserve({ jobId: 'a' });
    const [SINCE, ENDS, FIRST_END] = [7, 8, 3];
    await move(tenantId, 2 * DAY_MS, [AT, SINCE, ENDS, FIRST_END]);
    expect(await reserve({ acceptedAtMs: Date.now() })).toEqual({ outcome: 'not_loaded' });
    const ticket = await quota.beginLoad(tenantId, scopes);
    if (typeof ticket === 'string') throw new Error(`${ticket}, where a ticket was expected`);
    await quota.load({ ticket, scopes, cover: ['quota'], posted: [], openHolds: [tenants.openHold('a')] });
    expect(await reserve({ acceptedAtMs: Date.now() })).toMatchObject({ outcome: 'reserved', limits: [{ held: 2 }] });
  });
});
