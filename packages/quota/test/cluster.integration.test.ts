import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  closeRedis,
  connectRedis,
  createJobWaiter,
  createQuota,
  redisReady,
  type Quota,
  type RedisConnection,
} from '../src/index.js';
import { logger } from './redis.js';
import { ownCluster } from './servers.js';
import * as tenants from './tenants.js';
import { inFlightLimit, MODEL, onScope, onTenant, openHold, quotaLimit } from './tenants.js';

const PREFIX = 'test';
const SCOPES = [
  ...onTenant(quotaLimit(100), inFlightLimit(50)),
  onScope('model', MODEL, quotaLimit(90, { name: 'm' })),
];
/** As many as lead to all nodes. */
const TENANTS = Array.from({ length: 40 }, (_, i) => `tenant-${i}`);
let cluster: Awaited<ReturnType<typeof ownCluster>>;
let redis: RedisConnection;
let quota: Quota;
beforeAll(async () => {
  cluster = await ownCluster();
  redis = connectRedis({ url: cluster.url, name: 'quota-test', logger });
  await redisReady(redis, 10_000);
  quota = createQuota({ redis, keyPrefix: PREFIX, logger });
}, 60_000);
afterAll(async () => {
  await closeRedis(redis);
  await cluster.close();
});

const settlement = (tenantId: string, jobId: string) => ({
  ...{ tenantId, jobId, tokens: 3, nanoUsd: 0, outputTokens: 0, state: 'succeeded' as const },
});

describe('on Redis Cluster', () => {
  it('loads, reserves and settles for tenants on all nodes, a batch in one call', async () => {
    for (const tenantId of TENANTS) {
      const openHolds = [openHold('open', { amounts: { tokens: 2, nanoUsd: 0 } })];
      expect(await tenants.loadTenant(quota, tenantId, SCOPES, { openHolds })).toBe('loaded');
    }
    const reserve = (tenantId: string) =>
      quota.reserve(tenants.reservation(tenantId, SCOPES, { jobId: 'job', amounts: { tokens: 5, nanoUsd: 0 } }));
    expect(new Set((await Promise.all(TENANTS.map(reserve))).map(({ outcome }) => outcome))).toEqual(
      new Set(['reserved']),
    );
    await quota.running(TENANTS.map((tenantId) => ({ tenantId, jobId: 'job' })));
    expect((await quota.snapshot('tenant-7', 'job'))?.state).toBe('running');
    const batch = TENANTS.flatMap((tenantId) => [settlement(tenantId, 'job'), settlement(tenantId, 'unknown')]);
    expect(await quota.settle(batch)).toEqual(TENANTS.flatMap(() => ['settled', 'missing']));
    for (const tenantId of TENANTS) {
      expect(await quota.status(tenantId, SCOPES)).toMatchObject([{ used: 3, held: 2 }, { held: 1 }, { used: 3 }]);
    }
    const used = await Promise.all(cluster.nodes.map((node) => node.run('DBSIZE')));
    for (const keys of used) expect(keys).toBeGreaterThan(0);
  });

  it('finds expired holds of all nodes, and drops them', async () => {
    const found = await quota.expiredHolds({ nowMs: Date.now() + 90_000, limit: 1000 });
    expect(found.map(({ tenantId }) => tenantId).sort()).toEqual([...TENANTS].sort());
    for (const hold of found) expect(await quota.dropHold(hold)).toBe(true);
  });

  it('restores idempotency keys and frees those of dropped jobs, wherever the tenant is', async () => {
    const keysOf = async (tenantId: string) => {
      const idempotency = { keyHash: 'dropped', fingerprint: 'f', ttlMs: 60_000, checked: true };
      const keyed = (fields: object) =>
        quota.reserve(tenants.reservation(tenantId, [], { idempotency: { ...idempotency, ...fields } }));
      await tenants.loadTenant(quota, tenantId, SCOPES);
      expect(await keyed({})).toMatchObject({ outcome: 'reserved' });
      const entry = { keyHash: 'kept', fingerprint: 'f', jobId: 'open', expiresAtMs: Date.now() + 60_000 };
      await tenants.loadTenant(quota, tenantId, SCOPES, { keys: { entries: [entry], sinceMs: 0 } });
      expect(await quota.beginLoad(tenantId, SCOPES)).toBe('loaded');
      return Promise.all([keyed({ keyHash: 'kept', checked: false }), keyed({})]);
    };
    const outcomes = await Promise.all(TENANTS.map((tenantId) => keysOf(`${tenantId}-keys`)));
    expect(outcomes.map((both) => both.map(({ outcome }) => outcome))).toEqual(
      TENANTS.map(() => ['exists', 'reserved']),
    );
  });

  it('wakes waiters wherever the job is', async () => {
    const waiter = createJobWaiter({ url: cluster.url, keyPrefix: PREFIX, logger });
    await waiter.start();
    const waits = TENANTS.map((tenantId) => {
      let ended: Promise<boolean> = Promise.resolve(false);
      const begun = new Promise<void>((resolve) => {
        const check = () => Promise.resolve(false).finally(resolve);
        ended = waiter.wait(tenantId, 'awaited', { timeoutMs: 20_000, check });
      });
      return { begun, ended: () => ended };
    });
    await Promise.all(waits.map(({ begun }) => begun));
    await quota.settle(TENANTS.map((tenantId) => settlement(tenantId, 'awaited')));
    expect(await Promise.all(waits.map(({ ended }) => ended()))).toEqual(TENANTS.map(() => true));
    await waiter.stop();
  });

  it('loads the tenants of a node again that lost its memory, and of no other', async () => {
    const [lost] = cluster.nodes;
    await lost?.run('FLUSHALL');
    const outcomes = await Promise.all(TENANTS.map((tenantId) => quota.reserve(tenants.reservation(tenantId, SCOPES))));
    const kinds = new Set(outcomes.map(({ outcome }) => outcome));
    expect(kinds).toEqual(new Set(['reserved', 'not_loaded']));
  });

  it('fails for a node that is away and works again, unloaded, when it is back', async () => {
    const [node] = cluster.nodes;
    await node?.stop({ save: true });
    const failing = await Promise.allSettled(
      TENANTS.map((tenantId) => quota.reserve(tenants.reservation(tenantId, SCOPES))),
    );
    const reasons = failing.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    expect(reasons.length).toBeGreaterThan(0);
    for (const reason of reasons) expect(reason).toMatchObject({ code: 'quota_unavailable' });
    await node?.start();
    let statuses: unknown[] = [];
    while (statuses.length < TENANTS.length) {
      const results = await Promise.allSettled(TENANTS.map((tenantId) => quota.status(tenantId, SCOPES)));
      statuses = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value !== undefined] : []));
    }
    expect(new Set(statuses)).toEqual(new Set([true, false]));
  }, 60_000);
});
