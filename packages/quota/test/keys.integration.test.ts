import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createQuota, type LoadedKey, type Quota, type Reservation } from '../src/index.js';
import { forget, logger, openTestSpace } from './redis.js';
import * as tenants from './tenants.js';
import { onTenant, openHold, quotaLimit } from './tenants.js';

let space: Awaited<ReturnType<typeof openTestSpace>>;
let quota: Quota;
let count = 0;
beforeAll(async () => {
  space = await openTestSpace();
  quota = createQuota({ redis: space.redis, keyPrefix: space.keyPrefix, logger });
});
afterAll(() => space.close());

const LIMITS = onTenant(quotaLimit(10));
const TTL_MS = 60_000;
const KEY = { keyHash: 'key', fingerprint: 'body', ttlMs: TTL_MS };
const CHECKED = { ...KEY, checked: true };
const open = () => tenants.openTenant(quota, `tenant-${count++}`, LIMITS);
const newTenant = (): string => `tenant-${count++}`;
const reserve = (tenantId: string, fields: Partial<Reservation> = {}) =>
  quota.reserve(tenants.reservation(tenantId, LIMITS, fields));
const entry = (keyHash: string, jobId: string, fields: Partial<LoadedKey> = {}): LoadedKey => ({
  ...{ keyHash, jobId, fingerprint: 'body', expiresAtMs: Date.now() + TTL_MS },
  ...fields,
});
const load = (tenantId: string, entries: readonly LoadedKey[], sinceMs = Date.now() - TTL_MS, facts = {}) =>
  tenants.loadTenant(quota, tenantId, LIMITS, { keys: { entries, sinceMs }, ...facts });
const settled = (tenantId: string, jobId: string) =>
  quota.settle([{ tenantId, jobId, tokens: 1, nanoUsd: 0, outputTokens: 0, state: 'succeeded' }]);

describe('the key of a job whose hold a load has dropped', () => {
  const dropped = async () => {
    const { tenantId } = await open();
    await reserve(tenantId, { jobId: 'lost', idempotency: CHECKED });
    await load(tenantId, []);
    return tenantId;
  };

  it('is looked up in the records, and free when these do not know it', async () => {
    const tenantId = await dropped();
    expect(await reserve(tenantId, { idempotency: KEY })).toEqual({ outcome: 'key_unknown' });
    expect(await reserve(tenantId, { jobId: 'new', idempotency: CHECKED })).toMatchObject({
      outcome: 'reserved',
      limits: [{ held: 1 }],
    });
    expect(await quota.snapshot(tenantId, 'lost')).toBeUndefined();
    expect(await reserve(tenantId, { idempotency: KEY })).toMatchObject({ outcome: 'exists', jobId: 'new' });
  });

  it('is free for another request, too', async () => {
    const tenantId = await dropped();
    const other = { ...KEY, fingerprint: 'another body' };
    expect(await reserve(tenantId, { idempotency: other })).toEqual({ outcome: 'key_unknown' });
    const checked = { ...other, checked: true };
    expect(await reserve(tenantId, { idempotency: checked })).toMatchObject({ outcome: 'reserved' });
    expect(await reserve(tenantId, { idempotency: KEY })).toMatchObject({ outcome: 'conflict' });
  });

  it('is taken by one of many that repeat the request at once', async () => {
    const tenantId = await dropped();
    const again = Array.from({ length: 20 }, () => reserve(tenantId, { idempotency: CHECKED }));
    const outcomes = (await Promise.all(again)).map(({ outcome }) => outcome).sort();
    expect(outcomes).toEqual([...Array.from({ length: 19 }, () => 'exists'), 'reserved']);
    expect(await quota.status(tenantId, LIMITS)).toMatchObject([{ held: 1 }]);
  });

  it('can be taken by the same job', async () => {
    const tenantId = await dropped();
    const again = { jobId: 'lost', facts: 'anew', idempotency: CHECKED };
    expect(await reserve(tenantId, again)).toMatchObject({ outcome: 'reserved' });
    expect(await quota.snapshot(tenantId, 'lost')).toEqual({ state: 'reserved', facts: 'anew' });
  });

  it.each([
    ['its publish was confirmed', (job: { tenantId: string; jobId: string }) => quota.confirm(job)],
    ['it was run', (job: { tenantId: string; jobId: string }) => quota.running([job])],
    ['it was settled', ({ tenantId, jobId }: { tenantId: string; jobId: string }) => settled(tenantId, jobId)],
  ])('is never free when %s before the load, during it or after it', async (_, accept) => {
    const moments = ['before', 'during', 'after'] as const;
    for (const moment of moments) {
      const { tenantId } = await open();
      const accepted = async (now: string) =>
        now === moment ? void (await accept({ tenantId, jobId: 'job' })) : undefined;
      await reserve(tenantId, { jobId: 'job', idempotency: CHECKED });
      await accepted('before');
      const ticket = await quota.beginLoad(tenantId);
      await accepted('during');
      await quota.load({ ticket, scopes: [], cover: ['quota'], posted: [], openHolds: [] });
      await accepted('after');
      for (const idempotency of [KEY, CHECKED]) {
        expect(await reserve(tenantId, { idempotency })).toMatchObject({ outcome: 'exists', jobId: 'job' });
      }
    }
  });

  it('is never free while the tenant is not loaded, or when the load has restored the hold', async () => {
    const { tenantId } = await open();
    await reserve(tenantId, { jobId: 'job', idempotency: CHECKED });
    const ticket = await quota.beginLoad(tenantId);
    expect(await reserve(tenantId, { idempotency: CHECKED })).toEqual({ outcome: 'not_loaded' });
    await quota.load({ ticket, scopes: LIMITS, cover: ['quota'], posted: [], openHolds: [openHold('job')] });
    const snapshot = { state: 'reserved', facts: '{}' };
    expect(await reserve(tenantId, { idempotency: CHECKED })).toMatchObject({ outcome: 'exists', snapshot });
  });
});

describe('the key of a job whose snapshot was evicted', () => {
  const evicted = async (end: boolean) => {
    const { tenantId } = await open();
    await reserve(tenantId, { jobId: 'job', idempotency: CHECKED });
    if (end) await settled(tenantId, 'job');
    await space.redis.del(space.key(tenantId, 'job:job'));
    return tenantId;
  };
  const known = { outcome: 'exists', jobId: 'job', snapshot: undefined };

  it('leads to the job, which the records know, and is free when these do not', async () => {
    const tenantId = await evicted(true);
    expect(await reserve(tenantId, { idempotency: KEY })).toMatchObject(known);
    expect(await reserve(tenantId, { idempotency: CHECKED })).toMatchObject({ outcome: 'reserved' });
  });

  it('is not free while the job is held, for it may be on its way into the records', async () => {
    const tenantId = await evicted(false);
    for (const idempotency of [KEY, CHECKED]) {
      expect(await reserve(tenantId, { idempotency })).toMatchObject(known);
    }
  });
});

describe('keys that a load restores', () => {
  it('lead to their jobs without a snapshot, for as long as they would have lived', async () => {
    const tenantId = newTenant();
    const facts = { openHolds: [openHold('open')] };
    const expiresAtMs = Date.now() + 5_000_000;
    const entries = [entry('key', 'open', { expiresAtMs }), entry('ended', 'ended'), entry('key', 'older')];
    await load(tenantId, entries, undefined, facts);
    const found = await reserve(tenantId, { idempotency: KEY });
    expect(found).toMatchObject({ outcome: 'exists', jobId: 'open', snapshot: undefined, limits: [{ held: 1 }] });
    const ended = { ...KEY, keyHash: 'ended' };
    expect(await reserve(tenantId, { idempotency: ended })).toMatchObject({ outcome: 'exists', jobId: 'ended' });
    const clash = { ...ended, fingerprint: 'another body' };
    expect(await reserve(tenantId, { idempotency: clash })).toEqual({ outcome: 'conflict', jobId: 'ended' });
    expect(await space.redis.pexpiretime(space.key(tenantId, 'idem:key'))).toBe(expiresAtMs);
  });

  it('are all that could be lost, so that other keys are new without a look into the records', async () => {
    const tenantId = newTenant();
    await load(tenantId, []);
    expect(await reserve(tenantId, { idempotency: KEY })).toMatchObject({ outcome: 'reserved' });
    const longer = { ...KEY, keyHash: 'longer', ttlMs: 2 * TTL_MS };
    expect(await reserve(tenantId, { idempotency: longer })).toEqual({ outcome: 'key_unknown' });
  });

  it('may be the newest only: unknown keys are looked up until those that are missing have expired', async () => {
    const tenantId = newTenant();
    await load(tenantId, [entry('key', 'newest')], Date.now() - TTL_MS / 2);
    const other = { ...KEY, keyHash: 'other' };
    expect(await reserve(tenantId, { idempotency: KEY })).toMatchObject({ outcome: 'exists', jobId: 'newest' });
    expect(await reserve(tenantId, { idempotency: other })).toEqual({ outcome: 'key_unknown' });
    const brief = { ...other, ttlMs: TTL_MS / 4 };
    expect(await reserve(tenantId, { idempotency: brief })).toMatchObject({ outcome: 'reserved' });
  });

  it('leave keys alone that are there, and those that have expired away', async () => {
    const { tenantId } = await open();
    await reserve(tenantId, { jobId: 'mine', idempotency: CHECKED });
    const facts = { openHolds: [openHold('mine')] };
    await load(tenantId, [entry('key', 'other'), entry('past', 'past', { expiresAtMs: Date.now() - 1 })], 0, facts);
    expect(await reserve(tenantId, { idempotency: KEY })).toMatchObject({ outcome: 'exists', jobId: 'mine' });
    expect(await space.redis.exists(space.key(tenantId, 'idem:past'))).toBe(0);
  });

  it('stay when the load is superseded: they are true', async () => {
    const tenantId = newTenant();
    const ticket = await quota.beginLoad(tenantId);
    await load(tenantId, []);
    const keys = { entries: [entry('key', 'job')], sinceMs: 0 };
    const facts = { ticket, scopes: [], cover: ['quota'], posted: [], openHolds: [], keys };
    expect(await quota.load(facts)).toBe('superseded');
    expect(await reserve(tenantId, { idempotency: KEY })).toMatchObject({ outcome: 'exists', jobId: 'job' });
  });

  it('are refused as a whole when one cannot be kept, before anything is changed', async () => {
    const tenantId = newTenant();
    const ticket = await quota.beginLoad(tenantId);
    const keys = { entries: [entry('key', 'job'), entry('bad', 'two\nlines')], sinceMs: 0 };
    const facts = { ticket, scopes: [], cover: [], posted: [], openHolds: [], keys };
    await expect(quota.load(facts)).rejects.toBeInstanceOf(RangeError);
    expect(await space.redis.keys(space.key(tenantId, 'idem:*'))).toEqual([]);
  });

  it('may be 5,000', async () => {
    const tenantId = newTenant();
    const entries = Array.from({ length: 5_000 }, (_, i) => entry(`key-${i}`, `job-${i}`));
    expect(await load(tenantId, entries)).toBe('loaded');
    expect(await space.redis.keys(space.key(tenantId, 'idem:*'))).toHaveLength(5_000);
    await forget(space.redis, `${space.keyPrefix}:{${tenantId}}:*`);
  });
});
