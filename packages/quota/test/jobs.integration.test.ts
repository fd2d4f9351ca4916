import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createQuota, type Quota, type ScopedLimits, type Settlement } from '../src/index.js';
import { logger, openTestSpace } from './redis.js';
import * as tenants from './tenants.js';
import { onTenant, quotaLimit } from './tenants.js';

let space: Awaited<ReturnType<typeof openTestSpace>>;
let quota: Quota;
let count = 0;
beforeAll(async () => {
  space = await openTestSpace();
  quota = createQuota({ redis: space.redis, keyPrefix: space.keyPrefix, logger });
});
afterAll(() => space.close());

const LIMITS = onTenant(quotaLimit(10));
const KEY = { keyHash: 'key', fingerprint: 'body', ttlMs: 60_000, checked: true };
const open = (scopes: readonly ScopedLimits[] = LIMITS, tenantId = `tenant-${count++}`) =>
  tenants.openTenant(quota, tenantId, scopes);
const ended = (tenantId: string, jobId: string, fields: Partial<Settlement> = {}): Settlement => ({
  ...{ tenantId, jobId, tokens: 1, nanoUsd: 0, outputTokens: 0, state: 'succeeded' },
  ...fields,
});

describe('a repeated reserve', () => {
  it('is answered with the job, its snapshot and its new owner', async () => {
    const { reserve, tenantId, settle } = await open();
    await reserve({ jobId: 'first', facts: 'the job', owner: 'a', idempotency: KEY });
    const replay = await reserve({ jobId: 'second', owner: 'b', idempotency: KEY });
    const snapshot = { state: 'reserved', facts: 'the job' };
    expect(replay).toMatchObject({ outcome: 'exists', jobId: 'first', snapshot, limits: [{ held: 1 }] });
    expect(await quota.release({ tenantId, jobId: 'first', owner: 'a' })).toBe(false);
    await settle('first', 1);
    const late = await reserve({ idempotency: KEY });
    expect(late).toMatchObject({ outcome: 'exists', jobId: 'first', snapshot: { ...snapshot, state: 'succeeded' } });
    const other = { ...KEY, fingerprint: 'another body' };
    expect(await reserve({ idempotency: other })).toEqual({ outcome: 'conflict', jobId: 'first' });
  });

  it('of the same job id holds nothing twice, open or ended, even where a limit would refuse', async () => {
    const { reserve, settle, status } = await open();
    const job = { jobId: 'job', amounts: { tokens: 8, nanoUsd: 0 } };
    await reserve(job);
    expect(await reserve(job)).toMatchObject({ outcome: 'exists', limits: [{ held: 8 }] });
    await settle('job', 8);
    expect(await reserve(job)).toMatchObject({ outcome: 'exists', snapshot: { state: 'succeeded' } });
    expect(await reserve({ ...job, amounts: { tokens: 1, nanoUsd: 0 } })).toMatchObject({ outcome: 'exists' });
    expect(await status()).toMatchObject([{ used: 8, held: 0 }]);
  });

  it('asks for the records when its key may have been lost, and not when they were asked', async () => {
    const { reserve, tenantId } = await open();
    const unsure = { ...KEY, checked: false };
    expect(await reserve({ idempotency: unsure })).toEqual({ outcome: 'key_unknown' });
    const full = { amounts: { tokens: 11, nanoUsd: 0 } };
    expect(await reserve({ ...full, idempotency: unsure })).toEqual({ outcome: 'key_unknown' });
    expect(await reserve({ jobId: 'first', idempotency: KEY })).toMatchObject({ outcome: 'reserved' });
    expect(await reserve({ idempotency: unsure })).toMatchObject({ outcome: 'exists', jobId: 'first' });
    await space.redis.del(space.key(tenantId, 'idem:key'));
    expect(await reserve({ jobId: 'first', idempotency: unsure })).toMatchObject({ outcome: 'exists' });
    const brief = { ...unsure, keyHash: 'brief', ttlMs: 0 };
    expect(await reserve({ idempotency: { ...brief, ttlMs: 1 } })).toMatchObject({ outcome: 'reserved' });
  });

  it('does not start a second job when a snapshot was lost before its time', async () => {
    const { reserve, tenantId } = await open();
    await reserve({ jobId: 'job', idempotency: KEY });
    await space.redis.del(space.key(tenantId, 'job:job'));
    const found = { outcome: 'exists', jobId: 'job', snapshot: undefined };
    expect(await reserve({ idempotency: KEY })).toMatchObject(found);
    expect(await reserve({ idempotency: { ...KEY, checked: false } })).toMatchObject(found);
  });
});

describe('the state of a job', () => {
  it('goes from reserved over queued and running to its end, and never back', async () => {
    const { reserve, tenantId } = await open();
    const job = { tenantId, jobId: 'job' };
    const state = async () => (await quota.snapshot(tenantId, 'job'))?.state;
    expect(await quota.confirm(job)).toBe(false);
    await quota.running([job]);
    expect(await state()).toBeUndefined();
    await reserve({ jobId: 'job', facts: 'two\nlines' });
    expect(await quota.snapshot(tenantId, 'job')).toEqual({ state: 'reserved', facts: 'two\nlines' });
    expect(await quota.confirm(job)).toBe(true);
    expect(await state()).toBe('queued');
    await quota.running([job, { tenantId, jobId: 'unknown' }]);
    expect(await state()).toBe('running');
    expect(await quota.confirm(job)).toBe(false);
    await quota.settle([ended(tenantId, 'job', { state: 'canceled' })]);
    await quota.running([job]);
    expect(await quota.confirm(job)).toBe(false);
    expect(await quota.snapshot(tenantId, 'job')).toEqual({ state: 'canceled', facts: 'two\nlines' });
    await reserve({ jobId: 'quick' });
    await quota.running([{ tenantId, jobId: 'quick' }]);
    expect((await quota.snapshot(tenantId, 'quick'))?.state).toBe('running');
  });

  it('outlives the key that leads to it, and the settling', async () => {
    const { reserve, tenantId, settle } = await open();
    const ttl = (name: string) => space.redis.pttl(space.key(tenantId, name));
    await reserve({ jobId: 'job', idempotency: { ...KEY, ttlMs: 5_000_000 } });
    await settle('job', 1);
    expect(await ttl('job:job')).toBeGreaterThan(await ttl('idem:key'));
    await reserve({ jobId: 'short', holdTtlMs: 1 });
    await settle('short', 1);
    expect(await ttl('job:short')).toBeGreaterThan(3_000_000);
  });
});

describe('release', () => {
  it('makes the idempotency key usable again', async () => {
    const { reserve, tenantId } = await open();
    await reserve({ jobId: 'first', idempotency: KEY });
    expect(await quota.release({ tenantId, jobId: 'first', owner: 'gateway' })).toBe(true);
    expect(await quota.release({ tenantId, jobId: 'first', owner: 'gateway' })).toBe(false);
    expect(await quota.snapshot(tenantId, 'first')).toBeUndefined();
    const again = await reserve({ jobId: 'second', idempotency: KEY });
    expect(again).toMatchObject({ outcome: 'reserved', limits: [{ held: 1 }] });
  });

  it('leaves an idempotency key alone that belongs to a later job', async () => {
    const { reserve, tenantId } = await open();
    await reserve({ jobId: 'first', idempotency: KEY });
    await space.redis.del(space.key(tenantId, 'idem:key')); // as when it expired
    await reserve({ jobId: 'second', idempotency: KEY });
    expect(await quota.dropHold({ tenantId, jobId: 'first' })).toBe(true);
    expect(await reserve({ idempotency: KEY })).toMatchObject({ outcome: 'exists', jobId: 'second' });
  });
});

describe('settle', () => {
  it('settles a batch over many tenants in order, twice the same', async () => {
    const scopes = onTenant(quotaLimit(100));
    const many = await Promise.all(Array.from({ length: 20 }, () => open(scopes)));
    const jobs = many.flatMap((tenant) => Array.from({ length: 10 }, (_, i) => ({ tenant, jobId: `job-${i}` })));
    const amounts = { tokens: 5, nanoUsd: 0 };
    await Promise.all(jobs.map(({ tenant, jobId }) => tenant.reserve({ jobId, amounts })));
    const batch = jobs.map(({ tenant, jobId }) => ended(tenant.tenantId, jobId, { tokens: 3 }));
    const [first] = batch;
    const outcomes = await quota.settle(first ? [...batch, first] : []);
    expect(outcomes).toEqual([...batch.map(() => 'settled'), 'missing']);
    expect(await quota.settle(batch)).toEqual(batch.map(() => 'missing'));
    for (const { status } of many) expect(await status()).toMatchObject([{ used: 30, held: 0, overage: 0 }]);
  });

  it('books what went beyond the hold as overage, which blocks until the period ends', async () => {
    const { reserve, status, settle } = await open();
    await reserve({ jobId: 'greedy', amounts: { tokens: 8, nanoUsd: 0 } });
    await settle('greedy', 25);
    expect(await status()).toMatchObject([{ used: 25, overage: 17, held: 0, remaining: 0 }]);
    const refused = await reserve({ amounts: { tokens: 0, nanoUsd: 0 } });
    expect(refused).toMatchObject({ outcome: 'refused', limit: { name: 'quota' } });
  });

  it('works while Redis forgets its scripts', async () => {
    const { reserve, tenantId, settle } = await open();
    await Promise.all([reserve({ jobId: 'a' }), reserve({ jobId: 'b' })]);
    await settle('none', 1);
    await space.redis.script('FLUSH');
    const batch = ['a', 'b', 'a'].map((jobId) => ended(tenantId, jobId));
    expect([...(await quota.settle(batch))].sort()).toEqual(['missing', 'settled', 'settled']);
  });

  it('rejects as a whole when one of the batch cannot be settled, and may be repeated', async () => {
    const [good, bad] = [await open(), await open()];
    await Promise.all([good.reserve({ jobId: 'job' }), bad.reserve({ jobId: 'job' })]);
    const batch = [good, bad].map(({ tenantId }) => ended(tenantId, 'job'));
    const [key, aside] = ['quota', 'aside'].map((name) => space.key(bad.tenantId, name)) as [string, string];
    await space.redis.rename(key, aside);
    await space.redis.set(key, 'not a hash');
    await expect(quota.settle(batch)).rejects.toMatchObject({ code: 'quota_unavailable' });
    await space.redis.rename(aside, key);
    expect([...(await quota.settle(batch))].sort()).toEqual(['missing', 'settled']);
  });
});

describe('expired holds', () => {
  it('are found wherever they leaked, some at a time, and can be dropped', async () => {
    const leaky = createQuota({ redis: space.redis, keyPrefix: `${space.keyPrefix}:leaks`, logger });
    const scopes = onTenant(quotaLimit(100));
    const expected: string[] = [];
    for (const tenantId of ['a', 'b', 'c']) {
      const { reserve } = await tenants.openTenant(leaky, tenantId, scopes);
      for (const jobId of ['1', '2', '3']) {
        await reserve({ jobId, holdTtlMs: 0 });
        await reserve({ jobId: `fresh-${jobId}` });
        expected.push(`${tenantId}/${jobId}`);
      }
    }
    const names = (holds: readonly { tenantId: string; jobId: string }[]) =>
      holds.map(({ tenantId, jobId }) => `${tenantId}/${jobId}`).sort();
    expect(names(await leaky.expiredHolds({ limit: 100 }))).toEqual(expected);
    const inParts = [];
    for (let call = 0; call < 3; call++) inParts.push(...(await leaky.expiredHolds({ limit: 3 })));
    expect(names(inParts)).toEqual(expected);
    expect(await leaky.expiredHolds({ limit: 100, nowMs: 1 })).toEqual([]);
    for (const hold of await leaky.expiredHolds({ limit: 100 })) expect(await leaky.dropHold(hold)).toBe(true);
    expect(await leaky.expiredHolds({ limit: 100 })).toEqual([]);
    expect(await leaky.status('a', scopes)).toMatchObject([{ held: 3 }]);
  });

  it('of many tenants are all found by calls that go on where the last one stopped', async () => {
    const keyPrefix = `${space.keyPrefix}:many`;
    const pipeline = space.redis.pipeline();
    for (let i = 0; i < 1000; i++) {
      pipeline.sadd(`${keyPrefix}:tenants`, `t${i}`);
      if (i % 10 === 0) pipeline.zadd(`${keyPrefix}:{t${i}}:expiries`, 1, 'job');
    }
    await pipeline.exec();
    const many = createQuota({ redis: space.redis, keyPrefix, logger });
    const found = new Set<string>();
    for (let call = 0; call < 200 && found.size < 100; call++) {
      for (const { tenantId } of await many.expiredHolds({ limit: 7 })) found.add(tenantId);
    }
    expect(found.size).toBe(100);
    expect(await many.dropHold({ tenantId: 't0', jobId: 'job' })).toBe(false);
    expect(await many.expiredHolds({ limit: 1000 })).not.toContainEqual({ tenantId: 't0', jobId: 'job' });
    const all = new Set<string>();
    let cursor = '0';
    do {
      const page = await many.tenants(cursor);
      page.tenantIds.forEach((id) => all.add(id));
      cursor = page.cursor;
    } while (cursor !== '0');
    expect(all.size).toBe(1000);
  });
});

describe('learned use', () => {
  const learnFrom = async (tenant: Awaited<ReturnType<typeof open>>, jobId: string, outputTokens: number) => {
    await tenant.reserve({ jobId, learn: true, amounts: { tokens: 0, nanoUsd: 0 } });
    await quota.settle([ended(tenant.tenantId, jobId, { tokens: 0, outputTokens })]);
  };
  const learned = async (tenant: Awaited<ReturnType<typeof open>>, quantile: number) => {
    const outcome = await tenant.reserve({ quantile, amounts: { tokens: 0, nanoUsd: 0 } });
    return outcome.outcome === 'reserved' ? outcome.learned : undefined;
  };

  it('is a quantile of what jobs really produced, at most a fifth too high', async () => {
    const tenant = await open(onTenant());
    expect(await learned(tenant, 0.9)).toBeUndefined();
    for (let i = 1; i <= 100; i++) await learnFrom(tenant, `job-${i}`, i * 10);
    for (const quantile of [0.5, 0.9, 0.99]) {
      const { outputTokens = 0, samples } = (await learned(tenant, quantile)) ?? {};
      // Newer jobs weigh more, by a fifth over a hundred of them.
      expect(outputTokens).toBeGreaterThanOrEqual(1000 * quantile);
      expect(outputTokens).toBeLessThanOrEqual(1000 * (quantile + 0.05) * 1.2);
      expect(samples).toBe(100);
    }
  });

  it('knows small and huge outputs, forgets old ones, and learns of succeeded jobs only that may teach', async () => {
    const tenant = await open(onTenant());
    for (const [outputTokens, expected] of [
      [0, 1],
      [100_000_000, 100_000_000],
    ] as const) {
      await learnFrom(tenant, `only-${outputTokens}`, outputTokens);
      const { outputTokens: high = -1 } = (await learned(tenant, 0.999)) ?? {};
      expect(high).toBeGreaterThanOrEqual(expected);
      expect(high).toBeLessThanOrEqual(expected * 1.2);
    }
    const { tenantId } = tenant;
    await tenant.reserve({ jobId: 'failed', learn: true, amounts: { tokens: 0, nanoUsd: 0 } });
    await tenant.reserve({ jobId: 'embedding', amounts: { tokens: 0, nanoUsd: 0 } });
    await quota.settle([
      ended(tenantId, 'failed', { tokens: 0, outputTokens: 5, state: 'failed' }),
      ended(tenantId, 'embedding', { tokens: 0, outputTokens: 5 }),
    ]);
    expect(await learned(tenant, 0.5)).toMatchObject({ samples: 2 });
    const jobs = Array.from({ length: 3000 }, (_, i) => `later-${i}`);
    await Promise.all(jobs.map((jobId) => tenant.reserve({ jobId, learn: true, amounts: { tokens: 0, nanoUsd: 0 } })));
    await quota.settle(jobs.map((jobId) => ended(tenantId, jobId, { tokens: 0, outputTokens: 8 })));
    expect(await learned(tenant, 0.99)).toEqual({ outputTokens: 8, samples: 3002 });
  });
});
