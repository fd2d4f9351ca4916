import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { closeRedis, createQuota, type OpenHold, type Posted, type Quota, type ScopedLimits } from '../src/index.js';
import { forget, logger, openTestRedis, openTestSpace } from './redis.js';
import * as tenants from './tenants.js';
import { API_KEY, DAY_MS, inFlightLimit, MODEL, namesOf, onScope, onTenant, openHold, quotaLimit } from './tenants.js';

let space: Awaited<ReturnType<typeof openTestSpace>>;
let quota: Quota;
let count = 0;
beforeAll(async () => {
  space = await openTestSpace();
  quota = createQuota({ redis: space.redis, keyPrefix: space.keyPrefix, logger });
});
afterAll(() => space.close());

const SCOPES: readonly ScopedLimits[] = [
  onScope('tenant', '', quotaLimit(100), tenants.rateLimit(1000), inFlightLimit(50, { unit: 'tokens' })),
  onScope('apiKey', API_KEY, quotaLimit(80, { name: 'key:quota' })),
  onScope('model', MODEL, quotaLimit(60, { name: 'model:requests', unit: 'requests' })),
];
const posted = (name: string, used: number, overage = 0, fields: Partial<Posted> = {}): Posted => ({
  ...{ scope: 'tenant', subject: '', name, used, overage },
  ...fields,
});
const ended = (tenantId: string, jobId: string, tokens: number) => ({
  ...{ tenantId, jobId, tokens, nanoUsd: 0, outputTokens: 0, state: 'succeeded' as const },
});
const hold = (jobId: string, tokens: number, fields: Partial<OpenHold> = {}) =>
  openHold(jobId, { amounts: { tokens, nanoUsd: 0 }, ...fields });
const newTenant = (): string => `tenant-${count++}`;
const load = (tenantId: string, facts: tenants.Facts = {}, scopes = SCOPES) =>
  tenants.loadTenant(quota, tenantId, scopes, facts);
const finish = (ticket: { tenantId: string; token: string }, facts: tenants.Facts = {}) =>
  quota.load({ ticket, scopes: SCOPES, cover: namesOf(SCOPES), posted: [], openHolds: [], ...facts });

describe('load', () => {
  it('restores every limit of every scope, and holds that end as if nothing had happened', async () => {
    const tenantId = newTenant();
    const facts = {
      posted: [
        posted('quota', 30, 5),
        posted('rate', 40),
        posted('key:quota', 20, 0, { scope: 'apiKey', subject: API_KEY }),
        posted('model:requests', 4, 0, { scope: 'model', subject: MODEL }),
      ],
      openHolds: [hold('a', 10), hold('old', 7, { acceptedAtMs: Date.now() - 3 * DAY_MS })],
    };
    expect(await load(tenantId, facts)).toBe('loaded');
    expect(await quota.status(tenantId, SCOPES)).toMatchObject([
      { name: 'quota', used: 30, overage: 5, held: 10 },
      { name: 'rate', used: 40 },
      { name: 'in-flight', held: 17 },
      { name: 'key:quota', used: 20, held: 10 },
      { name: 'model:requests', used: 4, held: 1 },
    ]);
    expect(await quota.settle([ended(tenantId, 'a', 12), ended(tenantId, 'old', 1)])).toEqual(['settled', 'settled']);
    expect(await quota.status(tenantId, SCOPES)).toMatchObject([
      { used: 42, overage: 7, held: 0 },
      { used: 36 },
      { held: 0 },
      { used: 32, held: 0 },
      { used: 5, held: 0 },
    ]);
  });

  it('replaces whatever was there, and keeps idempotency keys and snapshots', async () => {
    const { reserve, tenantId, status } = await tenants.openTenant(quota, newTenant(), SCOPES);
    const idempotency = { keyHash: 'k', fingerprint: 'f', ttlMs: 60_000, checked: true };
    await reserve({ jobId: 'lost', amounts: { tokens: 9, nanoUsd: 0 }, facts: 'of the lost', idempotency });
    await quota.confirm({ tenantId, jobId: 'lost' });
    await load(tenantId, { posted: [posted('quota', 1)] });
    expect((await quota.inspect(tenantId))?.holds.size).toBe(0);
    expect(await status()).toMatchObject([{ used: 1, held: 0 }, { used: 0 }, { held: 0 }, { held: 0 }, { held: 0 }]);
    const snapshot = { state: 'queued', facts: 'of the lost' };
    expect(await reserve({ idempotency })).toMatchObject({ outcome: 'exists', jobId: 'lost', snapshot });
  });

  it('refuses everything from its beginning to its end', async () => {
    const { reserve, tenantId, status } = await tenants.openTenant(quota, newTenant(), SCOPES);
    const ticket = await quota.beginLoad(tenantId);
    expect(await reserve()).toEqual({ outcome: 'not_loaded' });
    expect(await status()).toBeUndefined();
    expect(await quota.inspect(tenantId)).toBeUndefined();
    expect(await finish(ticket)).toBe('loaded');
    expect(await reserve()).toMatchObject({ outcome: 'reserved' });
    await quota.unload(tenantId);
    expect(await reserve()).toEqual({ outcome: 'not_loaded' });
  });

  it('ends holds of jobs that were settled between the reading of the ledger and its end', async () => {
    const { tenantId, reserve, status } = await tenants.openTenant(quota, newTenant(), SCOPES);
    await reserve({ jobId: 'a', amounts: { tokens: 10, nanoUsd: 0 } });
    const ticket = await quota.beginLoad(tenantId);
    const early = [ended(tenantId, 'a', 13), ended(tenantId, 'a', 99), ended(tenantId, 'recorded', 5)];
    expect(await quota.settle(early)).toEqual(['early', 'early', 'early']);
    expect((await quota.snapshot(tenantId, 'a'))?.state).toBe('succeeded');
    const facts = { posted: [posted('quota', 5), posted('rate', 15)], openHolds: [hold('a', 10), hold('b', 2)] };
    expect(await finish(ticket, facts)).toBe('loaded');
    expect(await status()).toMatchObject([
      { used: 18, overage: 3, held: 2 },
      { used: 18 },
      { held: 2 },
      { used: 13, overage: 3, held: 2 },
      { used: 1, held: 1 },
    ]);
    expect(await quota.settle([ended(tenantId, 'a', 13)])).toEqual(['missing']);
    expect((await quota.expiredHolds({ nowMs: Date.now() + DAY_MS, limit: 1000 })).map(({ jobId }) => jobId)).toEqual(
      expect.not.arrayContaining(['a']),
    );
  });

  it('forgets notes of a load that never ended: a later one reads them in the ledger', async () => {
    const tenantId = newTenant();
    await quota.beginLoad(tenantId);
    await quota.settle([ended(tenantId, 'a', 3)]);
    const ticket = await quota.beginLoad(tenantId);
    await finish(ticket, { openHolds: [hold('a', 10)] });
    expect(await quota.status(tenantId, SCOPES)).toMatchObject([{ held: 10 }, {}, { held: 10 }, {}, {}]);
  });

  it('leaves nothing behind for a tenant that nobody loads', async () => {
    expect(await quota.settle([ended('stranger', 'a', 3)])).toEqual(['early']);
    expect(await space.redis.keys(space.key('stranger', '*'))).toEqual([]);
  });

  it('is superseded by another load, by an unload and by a loss, whatever it had staged', async () => {
    const tenantId = newTenant();
    const first = await quota.beginLoad(tenantId);
    const second = await quota.beginLoad(tenantId);
    const facts = { openHolds: [hold('a', 10)] };
    expect(await finish(first, facts)).toBe('superseded');
    expect(await finish(second, facts)).toBe('loaded');
    expect(await finish(second, facts)).toBe('superseded');

    const third = await quota.beginLoad(tenantId);
    await quota.unload(tenantId);
    expect(await finish(third, facts)).toBe('superseded');

    const fourth = await quota.beginLoad(tenantId);
    await forget(space.redis, `${space.keyPrefix}:{${tenantId}}:*`);
    expect(await finish(fourth, facts)).toBe('superseded');
    expect(await quota.status(tenantId, SCOPES)).toBeUndefined();
  });

  it('lets one of many loaders win, and reserves hold on what it set', async () => {
    const tenantId = newTenant();
    const facts = { posted: [posted('quota', 3)], openHolds: [hold('open', 2)] };
    const reserve = () => quota.reserve(tenants.reservation(tenantId, SCOPES));
    const outcomes = await Promise.all([
      load(tenantId, facts),
      load(tenantId, facts),
      load(tenantId, facts),
      reserve(),
    ]);
    expect(outcomes).toContain('loaded');
    const [status] = (await quota.status(tenantId, SCOPES)) ?? [];
    expect(status).toMatchObject({ used: 3, held: 2 });
  });

  it('restores 5,000 holds in parts, with their expiries', async () => {
    const tenantId = newTenant();
    const openHolds = Array.from({ length: 5000 }, (_, i) => hold(`job-${i}`, 3, { expiresAtMs: i }));
    expect(await load(tenantId, { openHolds: [...openHolds, hold('job-1', 3, { expiresAtMs: 1 })] })).toBe('loaded');
    const state = await quota.inspect(tenantId);
    expect(state?.holds.size).toBe(5000);
    expect(state?.limits.find(({ name }) => name === 'quota')).toMatchObject({ held: 15_000 });
    expect(await space.redis.zcard(space.key(tenantId, 'expiries'))).toBe(5000);
    expect(await space.redis.ttl(space.key(tenantId, 'quota'))).toBe(-1);
    expect(await space.redis.keys(space.key(tenantId, '*'))).toHaveLength(2);
    await forget(space.redis, `${space.keyPrefix}:{${tenantId}}:*`);
  });

  it('is superseded when a part of it was evicted', async () => {
    const tenantId = newTenant();
    const redis = await openTestRedis();
    const ticket = await quota.beginLoad(tenantId);
    const wanted = finish(ticket, { openHolds: Array.from({ length: 10_000 }, (_, i) => hold(`job-${i}`, 1)) });
    while ((await redis.exists(space.key(tenantId, 'staged'))) === 0);
    await redis.del(space.key(tenantId, 'staged'));
    expect(await wanted).toBe('superseded');
    await closeRedis(redis);
  });

  it('refuses facts of a period that is over', async () => {
    const tenantId = newTenant();
    const period = { id: '2000-01', startsAtMs: 1, endsAtMs: 2, nextId: '2000-02', nextEndsAtMs: Date.now() + DAY_MS };
    const scopes = onTenant(quotaLimit(10, { period }));
    const call = load(tenantId, { posted: [posted('quota', 5)] }, scopes);
    await expect(call).rejects.toMatchObject({ code: 'quota_unavailable' });
    expect(await quota.status(tenantId, scopes)).toBeUndefined();
  });

  it('asks for itself again when use was posted to a subject without limits that gets some', async () => {
    const tenantId = newTenant();
    const limit = quotaLimit(10, { name: 'model:quota' });
    const facts = { cover: ['model:quota'], openHolds: [hold('a', 1, { model: 'unlimited' })] };
    await load(tenantId, facts, []);
    const reserve = (model: string) =>
      quota.reserve(tenants.reservation(tenantId, [onScope('model', model, limit)], { model }));
    expect(await reserve('unlimited')).toEqual({ outcome: 'not_loaded' });
    expect(await reserve('fresh')).toMatchObject({ outcome: 'reserved' });
  });

  it('tells what is kept', async () => {
    const tenantId = newTenant();
    const a = hold('a', 4);
    await load(tenantId, { posted: [posted('rate', 9)], openHolds: [a] });
    const state = await quota.inspect(tenantId);
    expect(state?.holds.get('a')).toEqual({
      ...{ apiKeyId: API_KEY, model: MODEL, amounts: { tokens: 4, nanoUsd: 0 }, acceptedAtMs: a.acceptedAtMs },
    });
    expect(state?.limits).toContainEqual(
      expect.objectContaining({ scope: 'apiKey', subject: API_KEY, name: 'key:quota', held: 4, used: 0, overage: 0 }),
    );
    expect(state?.limits).toContainEqual(expect.objectContaining({ name: 'rate', used: 9, kind: 'rate' }));
  });
});
