import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { limitsOf, type Quota, createQuota, closeRedis, type Limit, type ScopedLimits } from '../src/index.js';
import { everything, logger, openTestRedis, openTestSpace } from './redis.js';
import * as tenants from './tenants.js';
import { API_KEY, DAY_MS, inFlightLimit, MODEL, onScope, onTenant, quotaLimit, rateLimit } from './tenants.js';

let space: Awaited<ReturnType<typeof openTestSpace>>;
let quota: Quota;
let count = 0;
beforeAll(async () => {
  space = await openTestSpace();
  quota = createQuota({ redis: space.redis, keyPrefix: space.keyPrefix, logger });
});
afterAll(() => space.close());

const open = (scopes: readonly ScopedLimits[], tenantId = `tenant-${count++}`) =>
  tenants.openTenant(quota, tenantId, scopes);
const tokens = (n: number, nanoUsd = 0) => ({ amounts: { tokens: n, nanoUsd } });

describe('reserve', () => {
  it('admits exactly 50 of 1,000 jobs of $0.10 that come at once over two connections against $5', async () => {
    const budget: Limit = quotaLimit(5_000_000_000, { name: 'money', unit: 'nanoUsd' });
    const { tenantId, scopes, status } = await open(onTenant(budget));
    const second = await openTestRedis();
    const elsewhere = createQuota({ redis: second, keyPrefix: space.keyPrefix, logger });
    const calls = Array.from({ length: 1000 }, (_, i) =>
      (i % 2 ? quota : elsewhere).reserve(tenants.reservation(tenantId, scopes, tokens(10, 100_000_000))),
    );
    const outcomes = (await Promise.all(calls)).map(({ outcome }) => outcome);
    await closeRedis(second);
    expect(outcomes.filter((outcome) => outcome === 'reserved')).toHaveLength(50);
    expect(outcomes.filter((outcome) => outcome === 'refused')).toHaveLength(950);
    expect(await status()).toMatchObject([{ held: 5_000_000_000, used: 0, remaining: 0 }]);
  });

  it('takes the request, the tokens and the money from all seven limits of all three scopes', async () => {
    const set = {
      ...{ requestsPerMinute: 100, tokensPerMinute: 1000, tokensPerDay: 1000, tokensPerMonth: 1000 },
      ...{ concurrentJobs: 10, tokensInFlight: 1000, moneyPerMonth: 5_000_000_000 },
    };
    const on = (scope: 'tenant' | 'apiKey' | 'model') => limitsOf(set, scope, 'Asia/Kathmandu', Date.now());
    const scopes = [
      onScope('tenant', '', ...on('tenant')),
      onScope('apiKey', API_KEY, ...on('apiKey')),
      onScope('model', MODEL, ...on('model')),
    ];
    const { reserve, status, settle } = await open(scopes);
    const outcome = await reserve({ jobId: 'a', ...tokens(7, 900) });
    const held = { 'requests-per-minute': 1, 'tokens-per-minute': 7 };
    expect(outcome.outcome === 'reserved' && outcome.limits).toHaveLength(21);
    for (const status of outcome.outcome === 'reserved' ? outcome.limits : []) {
      const name = status.name.replace(/^.*:/, '');
      if (status.kind === 'rate') expect(status).toMatchObject({ used: held[name as keyof typeof held], held: 0 });
      else expect(status).toMatchObject({ used: 0, held: { requests: 1, tokens: 7, nanoUsd: 900 }[status.unit] });
    }
    await settle('a', 3, 400);
    const after = (await status()) ?? [];
    expect(after.map(({ held: open }) => open)).toEqual(after.map(() => 0));
    const quotas = after.filter(({ kind }) => kind === 'quota').map(({ used }) => used);
    expect(quotas).toEqual([3, 3, 400, 3, 3, 400, 3, 3, 400]);
  });

  it.each(['tenant', 'apiKey', 'model'] as const)('consumes nothing when only the %s refuses', async (scope) => {
    const subject = { tenant: '', apiKey: API_KEY, model: MODEL };
    const max = (of: string): number => (of === scope ? 10 : 1000);
    const scopes = (['tenant', 'apiKey', 'model'] as const).map((of) =>
      onScope(of, subject[of], quotaLimit(max(of), { name: `${of}:quota` }), rateLimit(1000, { name: `${of}:rate` })),
    );
    const { reserve, tenantId } = await open(scopes);
    await reserve(tokens(4));
    const before = await everything(space, tenantId);
    const idempotency = { keyHash: 'k', fingerprint: 'f', ttlMs: 60_000, checked: true };
    const refused = await reserve({ ...tokens(7), idempotency });
    expect(refused).toMatchObject({ outcome: 'refused', limit: { name: `${scope}:quota`, scope, used: 0, held: 4 } });
    expect(await everything(space, tenantId)).toEqual(before);
  });

  it('names the limit that clears last, and one that never will before all others', async () => {
    const { reserve } = await open([
      onScope('tenant', '', rateLimit(100), quotaLimit(100)),
      onScope('model', MODEL, inFlightLimit(1000, { name: 'model:in-flight', unit: 'tokens' })),
    ]);
    await reserve(tokens(60));
    const refused = await reserve(tokens(80));
    expect(refused).toMatchObject({ outcome: 'refused', limit: { name: 'quota' } });
    expect(await reserve(tokens(1001))).toMatchObject({ limit: { name: 'rate' }, clearsInMs: undefined });
    const small = await open([
      ...onTenant(quotaLimit(100)),
      onScope('model', MODEL, rateLimit(50, { name: 'model:rate' })),
    ]);
    await small.reserve(tokens(50));
    expect(await small.reserve(tokens(60))).toMatchObject({ limit: { name: 'model:rate' }, clearsInMs: undefined });
  });

  it('says when a bucket holds enough, when a period ends, and when the first hold expires', async () => {
    const rate = await open(onTenant(rateLimit(1000)));
    await rate.reserve(tokens(1000));
    const refused = await rate.reserve(tokens(500));
    expect(refused).toMatchObject({ outcome: 'refused', limits: [{ remaining: 0, used: 1000 }] });
    const clearsInMs = refused.outcome === 'refused' ? (refused.clearsInMs ?? 0) : 0;
    expect(clearsInMs).toBeGreaterThan(DAY_MS / 4);
    expect(clearsInMs).toBeLessThanOrEqual(DAY_MS / 2);

    const limit = quotaLimit(10);
    const period = await open(onTenant(limit));
    await period.reserve(tokens(10));
    const ended = await period.reserve();
    expect(ended.outcome === 'refused' && ended.nowMs + (ended.clearsInMs ?? 0)).toBe(limit.period?.endsAtMs);

    const flight = await open(onTenant(inFlightLimit(2)));
    const first = await flight.reserve({ holdTtlMs: 50_000 });
    await flight.reserve({ holdTtlMs: 90_000 });
    const full = await flight.reserve();
    const until = full.outcome === 'refused' ? full.nowMs + (full.clearsInMs ?? 0) : 0;
    expect(until).toBe(first.outcome === 'reserved' ? first.nowMs + 50_000 : -1);
    expect(full).toMatchObject({ limit: { name: 'in-flight', held: 2, remaining: 0 } });
  });

  it('counts soft limits and is never refused by them', async () => {
    const { reserve, settle, status } = await open(onTenant(quotaLimit(10, { soft: true }), inFlightLimit(5)));
    expect(await reserve({ jobId: 'soft', ...tokens(50) })).toMatchObject({ outcome: 'reserved' });
    await settle('soft', 60);
    expect(await status()).toMatchObject([{ used: 60, overage: 10, remaining: 0, soft: true }, { held: 0 }]);
    expect(await reserve(tokens(1))).toMatchObject({ outcome: 'reserved' });
  });

  it('gives back the request, too, when a hold is released, and not when its job is settled', async () => {
    const requests = rateLimit(2, { name: 'requests', unit: 'requests' });
    const { reserve, settle, tenantId } = await open(onTenant(requests, inFlightLimit(2)));
    await reserve({ jobId: 'a' });
    await reserve({ jobId: 'b' });
    expect(await reserve()).toMatchObject({ outcome: 'refused', limit: { name: 'requests' } });
    await settle('a', 0);
    expect(await reserve()).toMatchObject({ outcome: 'refused', limit: { name: 'requests' } });
    expect(await quota.release({ tenantId, jobId: 'b', owner: 'gateway' })).toBe(true);
    expect(await reserve()).toMatchObject({ outcome: 'reserved' });
  });

  it('lets a bucket go into debt and refuses until it is paid back', async () => {
    const { reserve, settle, status } = await open(onTenant(rateLimit(100)));
    await reserve({ jobId: 'a', ...tokens(10) });
    await settle('a', 250);
    expect(await status()).toMatchObject([{ used: 250, remaining: 0 }]);
    const refused = await reserve(tokens(1));
    const clearsInMs = refused.outcome === 'refused' ? (refused.clearsInMs ?? 0) : 0;
    expect(clearsInMs).toBeGreaterThan(DAY_MS * 1.49);
    expect(clearsInMs).toBeLessThanOrEqual(DAY_MS * 1.51);
  });

  it('applies a changed maximum, window and softness at once', async () => {
    const { reserve } = await open(onTenant(quotaLimit(10), rateLimit(100)));
    await reserve(tokens(10));
    expect(await reserve()).toMatchObject({ outcome: 'refused', limit: { name: 'quota' } });
    const raised = onTenant(quotaLimit(20), rateLimit(100));
    expect(await reserve({ scopes: raised, ...tokens(5) })).toMatchObject({ outcome: 'reserved' });
    const soft = onTenant(quotaLimit(10, { soft: true }), rateLimit(100));
    expect(await reserve({ scopes: soft, ...tokens(20) })).toMatchObject({ outcome: 'reserved' });
    const narrow = onTenant(quotaLimit(100), rateLimit(100, { windowMs: DAY_MS / 2 }));
    expect(await reserve({ scopes: narrow, ...tokens(5) })).toMatchObject({ limits: [{ held: 40 }, { used: 40 }] });
    const low = onTenant(quotaLimit(100), rateLimit(30));
    expect(await reserve({ scopes: low })).toMatchObject({ outcome: 'refused', limit: { name: 'rate', used: 40 } });
  });

  it('goes on counting a limit that some callers do not name, without refusing them', async () => {
    const both = onTenant(quotaLimit(10), inFlightLimit(100));
    const one = onTenant(inFlightLimit(100));
    const { reserve, settle, status } = await open(both);
    await reserve({ jobId: 'a', ...tokens(6) });
    expect(await reserve({ jobId: 'b', ...tokens(6), scopes: one })).toMatchObject({ outcome: 'reserved' });
    expect(await reserve(tokens(1))).toMatchObject({ outcome: 'refused', limit: { name: 'quota', held: 12 } });
    await settle('b', 2);
    expect(await status()).toMatchObject([{ held: 6, used: 2 }, { held: 1 }]);
    expect(await reserve(tokens(2))).toMatchObject({ outcome: 'reserved' });
  });

  it('asks for a load when a limit is new, unless its subject has used nothing', async () => {
    const model = (name: string, ...limits: Limit[]) => onScope('model', name, ...limits);
    const limit = quotaLimit(10, { name: 'model:quota' });
    const { reserve } = await open([model(MODEL, limit)]);
    expect(await reserve({ model: 'other', scopes: [model('other', limit)] })).toMatchObject({ outcome: 'reserved' });
    const unknown = rateLimit(10, { name: 'model:rate' });
    expect(await reserve({ model: 'third', scopes: [model('third', unknown)] })).toEqual({ outcome: 'not_loaded' });
    expect(await reserve({ scopes: onTenant(quotaLimit(10)) })).toEqual({ outcome: 'not_loaded' });
    expect(await reserve({ model: 'fourth', scopes: [] })).toMatchObject({ outcome: 'reserved' });
    expect(await reserve({ model: 'fourth', scopes: [model('fourth', limit)] })).toEqual({ outcome: 'not_loaded' });
  });

  it('keeps the largest limits exact', async () => {
    const set = { tokensPerMinute: 100_000_000_000, moneyPerMonth: 9_000_000_000_000_000 };
    const limits = limitsOf(set, 'tenant', 'Asia/Kathmandu', Date.now());
    const { reserve, settle, tenantId, status } = await open(onTenant(...limits));
    const nanoUsd = 8_999_999_999_999_999;
    await reserve({ jobId: 'large', amounts: { tokens: 99_999_999, nanoUsd } });
    expect(await status()).toMatchObject([{}, { held: nanoUsd, remaining: 1 }]);
    await settle('large', 150_000_000_001, nanoUsd);
    expect(await status()).toMatchObject([{}, { held: 0, used: nanoUsd, remaining: 1 }]);
    const [rate, money] = (await quota.inspect(tenantId))?.limits ?? [];
    expect(rate).toMatchObject({ name: 'tokens-per-minute', unit: 'tokens' });
    expect(money).toMatchObject({ used: nanoUsd, overage: 0, unit: 'nanoUsd', period: { id: expect.any(String) } });
  });

  it('refuses what cannot be kept', async () => {
    const { reserve, tenantId, scopes } = await open(onTenant(quotaLimit(10)), 'Größe-東京-🦭');
    await reserve({ jobId: 'задача', facts: '{"s":"🦭\\u0000"}\n', owner: 'π' });
    expect(await quota.snapshot(tenantId, 'задача')).toEqual({ state: 'reserved', facts: '{"s":"🦭\\u0000"}\n' });
    expect(await quota.release({ tenantId, jobId: 'задача', owner: 'π' })).toBe(true);
    await expect(reserve(tokens(0.5))).rejects.toThrow(RangeError);
    await expect(reserve(tokens(-1))).rejects.toThrow(RangeError);
    await expect(reserve(tokens(1, 2 ** 53))).rejects.toThrow(RangeError);
    await expect(reserve({ jobId: 'two\nlines' })).rejects.toThrow(RangeError);
    await expect(reserve({ scopes: [...scopes, ...scopes] })).rejects.toThrow(RangeError);
    await expect(reserve({ scopes: [onScope('model', 'another')] })).rejects.toThrow(RangeError);
  });

  it('reports a broken Redis as quota_unavailable with the cause', async () => {
    const { reserve, tenantId } = await open(onTenant(quotaLimit(10)));
    await space.redis.set(space.key(tenantId, 'quota'), 'not a hash');
    await expect(reserve()).rejects.toMatchObject({
      code: 'quota_unavailable',
      cause: expect.objectContaining({ message: expect.stringContaining('WRONGTYPE') }),
    });
  });

  it('puts every key of a tenant under one hash tag', async () => {
    const { reserve, tenantId, settle } = await open(onTenant(quotaLimit(10)));
    const idempotency = { keyHash: 'k', fingerprint: 'f', ttlMs: 60_000, checked: true };
    await reserve({ jobId: 'a', idempotency, learn: true });
    await reserve({ jobId: 'b' });
    await settle('a', 1);
    const keys = await space.redis.keys(`${space.keyPrefix}:*${tenantId}*`);
    const names = ['quota', 'expiries', 'job:a', 'job:b', 'idem:k', 'learned'];
    expect(keys.sort()).toEqual(names.map((name) => space.key(tenantId, name)).sort());
  });
});
