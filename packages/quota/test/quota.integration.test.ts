import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { newJobId } from '@sluice/contracts';
import { closeRedis, createQuota, limitsOf, type Limit, type Quota, type Reservation } from '../src/index.js';
import { logger, openTestRedis, openTestSpace, redisNowMs, storedState } from './redis.js';

const DAY_MS = 86_400_000;
let space: Awaited<ReturnType<typeof openTestSpace>>;
let quota: Quota;
let tenants = 0;
beforeAll(async () => {
  space = await openTestSpace();
  quota = createQuota({ redis: space.redis, keyPrefix: space.keyPrefix, logger });
});
afterAll(() => space.close());

/** One quota of `max` for a period that does not end within the test. */
function plentyOfTime(max: number): readonly Limit[] {
  const startsAtMs = Date.now() - DAY_MS;
  const [endsAtMs, nextEndsAtMs] = [startsAtMs + 2 * DAY_MS, startsAtMs + 3 * DAY_MS];
  return [
    { name: 'quota', kind: 'quota', max, period: { id: 'now', startsAtMs, endsAtMs, nextId: 'then', nextEndsAtMs } },
  ];
}

async function openTenant(limits: readonly Limit[], tenantId = `tenant-${tenants++}`) {
  await quota.load({ tenantId, limits, posted: { quota: 0 }, openHolds: [] });
  const reserve = (fields: Partial<Reservation> = {}) =>
    quota.reserve({
      ...{ tenantId, jobId: newJobId(), owner: 'gateway', cost: 1, limits, holdTtlMs: 60_000, facts: '{}' },
      ...fields,
    });
  return { tenantId, limits, reserve, key: (name: string) => `${space.keyPrefix}:{${tenantId}}:${name}` };
}

/** Everything Redis keeps of a tenant, but for what only time changes. */
async function everything(tenantId: string): Promise<unknown> {
  const keys = (await space.redis.keys(`${space.keyPrefix}:{${tenantId}}:*`)).sort();
  return Promise.all(keys.map(async (key) => [key, await space.redis.dump(key)]));
}

describe('reserve', () => {
  it('admits exactly 50 of 1,000 that come at once over two connections', async () => {
    const { reserve, limits, tenantId } = await openTenant(plentyOfTime(50));
    const second = await openTestRedis();
    const elsewhere = createQuota({ redis: second, keyPrefix: space.keyPrefix, logger });
    const calls = Array.from({ length: 1000 }, (_, i) =>
      i % 2 === 0
        ? reserve()
        : elsewhere.reserve({
            tenantId,
            jobId: newJobId(),
            owner: 'b',
            cost: 1,
            limits,
            holdTtlMs: 60_000,
            facts: '',
          }),
    );
    const outcomes = (await Promise.all(calls)).map(({ outcome }) => outcome);
    await closeRedis(second);
    expect(outcomes.filter((outcome) => outcome === 'reserved')).toHaveLength(50);
    expect(outcomes.filter((outcome) => outcome === 'refused')).toHaveLength(950);
    expect(await quota.status(tenantId, limits)).toMatchObject([{ held: 50, used: 0, remaining: 0 }]);
  });

  it('consumes nothing when one of several limits refuses', async () => {
    const limits: readonly Limit[] = [{ name: 'rate', kind: 'rate', max: 1000, windowMs: DAY_MS }, ...plentyOfTime(10)];
    const { reserve, tenantId } = await openTenant(limits);
    await reserve({ cost: 4 });
    const before = await everything(tenantId);
    const refused = await reserve({ cost: 7, idempotency: { keyHash: 'k', fingerprint: 'f', ttlMs: 60_000 } });
    expect(refused).toMatchObject({ outcome: 'refused', limit: 'quota' });
    expect(await everything(tenantId)).toEqual(before);
  });

  it('says when the limit clears, and that a cost above the maximum never fits', async () => {
    const { reserve } = await openTenant([{ name: 'rate', kind: 'rate', max: 1000, windowMs: DAY_MS }]);
    await reserve({ cost: 1000 });
    const refused = await reserve({ cost: 500 });
    expect(refused).toMatchObject({ outcome: 'refused', limit: 'rate', limits: [{ remaining: 0, used: 1000 }] });
    const clearsInMs = refused.outcome === 'refused' ? (refused.clearsInMs ?? 0) : 0;
    expect(clearsInMs).toBeGreaterThan(DAY_MS / 4);
    expect(clearsInMs).toBeLessThanOrEqual(DAY_MS / 2);
    expect(await reserve({ cost: 1001 })).toMatchObject({ outcome: 'refused', clearsInMs: undefined });
  });

  it('keeps the largest limits exact', async () => {
    const plan = { tokensPerMinute: 100_000_000_000, tokensPerMonth: 9_000_000_000_000 };
    const limits = limitsOf(plan, 'Asia/Kathmandu', await redisNowMs(space.redis));
    const { reserve, tenantId, key } = await openTenant(limits);
    const full = 5_999_999_999_999_999;
    const later = Date.now() + DAY_MS; // a bucket is not refilled before the time it is of
    const set =
      "return redis.call('HSET', KEYS[1], ARGV[1], cmsgpack.pack('rate', 1e11, 60000, tonumber(ARGV[2]), tonumber(ARGV[3])))";
    await space.redis.eval(set, 1, key('quota'), 'tokens-per-minute', full, later);
    const credit = async () => {
      const { limits: stored } = await storedState(space.redis, { quota: key('quota'), holds: key('holds') });
      return Number(stored['tokens-per-minute']?.split(' ')[3]);
    };
    await reserve({ jobId: 'large', cost: 99_999_999 });
    expect(await credit()).toBe(full - 99_999_999 * 60_000);
    await quota.settle([{ tenantId, jobId: 'large', tokens: 1, state: 'succeeded' }]);
    expect(await credit()).toBe(full - 60_000);
    await reserve({ jobId: 'debt', cost: 1 });
    await quota.settle([{ tenantId, jobId: 'debt', tokens: 150_000_000_001, state: 'succeeded' }]);
    expect(await credit()).toBe(full - 60_000 - 150_000_000_001 * 60_000);
  });

  it('answers a replay with the job, its snapshot and its new owner', async () => {
    const { reserve, tenantId } = await openTenant(plentyOfTime(10));
    const idempotency = { keyHash: 'key', fingerprint: 'body', ttlMs: 60_000 };
    await reserve({ jobId: 'first', facts: 'the job', owner: 'a', idempotency });
    const replay = await reserve({ jobId: 'second', owner: 'b', idempotency });
    expect(replay).toMatchObject({
      outcome: 'exists',
      jobId: 'first',
      snapshot: { state: 'reserved', facts: 'the job' },
      limits: [{ held: 1 }],
    });
    expect(await quota.release({ tenantId, jobId: 'first', owner: 'a' })).toBe(false);

    await quota.settle([{ tenantId, jobId: 'first', tokens: 1, state: 'succeeded' }]);
    expect(await reserve({ idempotency })).toMatchObject({
      outcome: 'exists',
      jobId: 'first',
      snapshot: { state: 'succeeded', facts: 'the job' },
    });
    const other = { ...idempotency, fingerprint: 'another body' };
    expect(await reserve({ idempotency: other })).toEqual({ outcome: 'conflict', jobId: 'first' });
  });

  it('tells a job that is surely queued from one that is only reserved, and from one that has ended', async () => {
    const { reserve, tenantId } = await openTenant(plentyOfTime(10));
    const job = { tenantId, jobId: 'job' };
    expect(await quota.confirm(job)).toBe(false);
    await reserve({ jobId: 'job', facts: 'two\nlines' });
    expect(await quota.snapshot(tenantId, 'job')).toEqual({ state: 'reserved', facts: 'two\nlines' });
    expect(await quota.confirm(job)).toBe(true);
    expect(await quota.snapshot(tenantId, 'job')).toEqual({ state: 'queued', facts: 'two\nlines' });
    await quota.settle([{ ...job, tokens: 1, state: 'failed' }]);
    expect(await quota.confirm(job)).toBe(false);
    expect(await quota.snapshot(tenantId, 'job')).toEqual({ state: 'failed', facts: 'two\nlines' });
  });

  it('notes the end of a job whose hold was lost', async () => {
    const { reserve, tenantId, key } = await openTenant(plentyOfTime(10));
    await reserve({ jobId: 'job', facts: 'the job' });
    await space.redis.del(key('quota'), key('holds'), key('expiries'));
    expect(await quota.settle([{ tenantId, jobId: 'job', tokens: 1, state: 'succeeded' }])).toEqual(['missing']);
    expect(await quota.snapshot(tenantId, 'job')).toEqual({ state: 'succeeded', facts: 'the job' });
  });

  it('makes the idempotency key usable again when the hold was released', async () => {
    const { reserve, tenantId } = await openTenant(plentyOfTime(10));
    const idempotency = { keyHash: 'key', fingerprint: 'body', ttlMs: 60_000 };
    await reserve({ jobId: 'first', idempotency });
    expect(await quota.release({ tenantId, jobId: 'first', owner: 'gateway' })).toBe(true);
    expect(await quota.release({ tenantId, jobId: 'first', owner: 'gateway' })).toBe(false);
    expect(await quota.snapshot(tenantId, 'first')).toBeUndefined();
    expect(await reserve({ jobId: 'second', idempotency })).toMatchObject({
      outcome: 'reserved',
      limits: [{ held: 1 }],
    });
  });

  it('leaves an idempotency key alone that belongs to a later job', async () => {
    const { reserve, tenantId, key } = await openTenant(plentyOfTime(10));
    const idempotency = { keyHash: 'key', fingerprint: 'body', ttlMs: 60_000 };
    await reserve({ jobId: 'first', idempotency });
    await space.redis.del(key('idem:key')); // as when it expired
    await reserve({ jobId: 'second', idempotency });
    expect(await quota.dropHold({ tenantId, jobId: 'first' })).toBe(true);
    expect(await reserve({ idempotency })).toMatchObject({ outcome: 'exists', jobId: 'second' });
  });

  it('lets snapshots outlive the key that leads to them, and keeps them after settling', async () => {
    const { reserve, tenantId, key } = await openTenant(plentyOfTime(10));
    await reserve({ jobId: 'job', idempotency: { keyHash: 'k', fingerprint: 'f', ttlMs: 5_000_000 } });
    await quota.settle([{ tenantId, jobId: 'job', tokens: 1, state: 'succeeded' }]);
    expect(await space.redis.pttl(key('job:job'))).toBeGreaterThan(await space.redis.pttl(key('idem:k')));
    await reserve({ jobId: 'short', holdTtlMs: 1 });
    await quota.settle([{ tenantId, jobId: 'short', tokens: 1, state: 'succeeded' }]);
    expect(await space.redis.pttl(key('job:short'))).toBeGreaterThan(3_000_000);
  });

  it('fails, and does not start a second job, when a snapshot was lost before its time', async () => {
    const { reserve, key } = await openTenant(plentyOfTime(10));
    const idempotency = { keyHash: 'k', fingerprint: 'f', ttlMs: 60_000 };
    await reserve({ jobId: 'job', idempotency });
    await space.redis.del(key('job:job'));
    await expect(reserve({ idempotency })).rejects.toMatchObject({ code: 'quota_unavailable' });
  });

  it('asks for a load when a limit is new, and counts the open holds in it then', async () => {
    const { reserve, tenantId, limits } = await openTenant(plentyOfTime(10));
    await reserve({ jobId: 'old', cost: 3 });
    const more: readonly Limit[] = [...limits, { name: 'rate', kind: 'rate', max: 10, windowMs: DAY_MS }];
    expect(await reserve({ limits: more })).toEqual({ outcome: 'not_loaded' });
    const openHolds = [{ jobId: 'old', tokens: 3, acceptedAtMs: Date.now(), expiresAtMs: Date.now() + 60_000 }];
    await quota.load({ tenantId, limits: more, posted: { quota: 0 }, openHolds });
    expect(await quota.status(tenantId, more)).toMatchObject([{ held: 3 }, { used: 3 }]);
    await quota.settle([{ tenantId, jobId: 'old', tokens: 1, state: 'succeeded' }]);
    expect(await quota.status(tenantId, more)).toMatchObject([{ held: 0, used: 1 }, { used: 1 }]);
  });

  it('works with names in any script and refuses what cannot be kept', async () => {
    const { reserve, tenantId } = await openTenant(plentyOfTime(10), 'Größe-東京-🦭');
    await reserve({ jobId: 'задача', facts: '{"s":"🦭\\u0000"}\n', owner: 'π' });
    expect(await quota.snapshot(tenantId, 'задача')).toEqual({ state: 'reserved', facts: '{"s":"🦭\\u0000"}\n' });
    expect(await quota.release({ tenantId, jobId: 'задача', owner: 'π' })).toBe(true);
    await expect(reserve({ cost: 0.5 })).rejects.toThrow(RangeError);
    await expect(reserve({ cost: -1 })).rejects.toThrow(RangeError);
    await expect(reserve({ jobId: 'two\nlines' })).rejects.toThrow(RangeError);
  });

  it('puts every key of a tenant under one hash tag', async () => {
    const { reserve, tenantId } = await openTenant(plentyOfTime(10));
    await reserve({ jobId: 'a', idempotency: { keyHash: 'k', fingerprint: 'f', ttlMs: 60_000 } });
    const keys = await space.redis.keys(`${space.keyPrefix}:*${tenantId}*`);
    const names = ['quota', 'holds', 'expiries', 'job:a', 'idem:k'];
    expect(keys.sort()).toEqual(names.map((name) => `${space.keyPrefix}:{${tenantId}}:${name}`).sort());
  });

  it('reports a broken Redis as quota_unavailable with the cause', async () => {
    const { reserve, key } = await openTenant(plentyOfTime(10));
    await space.redis.set(key('quota'), 'not a hash');
    await expect(reserve()).rejects.toMatchObject({
      code: 'quota_unavailable',
      cause: expect.objectContaining({ message: expect.stringContaining('WRONGTYPE') }),
    });
  });
});

describe('settle', () => {
  it('settles a batch over many tenants in order, twice the same', async () => {
    const many = await Promise.all(Array.from({ length: 20 }, () => openTenant(plentyOfTime(100))));
    const jobs = many.flatMap(({ tenantId, reserve }) =>
      Array.from({ length: 10 }, (_, i) => ({ tenantId, reserve, jobId: `job-${i}` })),
    );
    await Promise.all(jobs.map(({ reserve, jobId }) => reserve({ jobId, cost: 5 })));
    const batch = jobs.map(({ tenantId, jobId }) => ({ tenantId, jobId, tokens: 3, state: 'succeeded' as const }));
    const [first] = batch;
    const outcomes = await quota.settle(first ? [...batch, first] : []);
    expect(outcomes).toEqual([...batch.map(() => 'settled'), 'missing']);
    expect(await quota.settle(batch)).toEqual(batch.map(() => 'missing'));
    for (const { tenantId, limits } of many) {
      expect(await quota.status(tenantId, limits)).toMatchObject([{ used: 30, held: 0, overage: 0 }]);
    }
  });

  it('books what went beyond the hold as overage, which blocks until the period ends', async () => {
    const { reserve, tenantId, limits } = await openTenant(plentyOfTime(10));
    await reserve({ jobId: 'greedy', cost: 8 });
    await quota.settle([{ tenantId, jobId: 'greedy', tokens: 25, state: 'succeeded' }]);
    expect(await quota.status(tenantId, limits)).toMatchObject([{ used: 25, overage: 17, held: 0, remaining: 0 }]);
    expect(await reserve({ cost: 0 })).toMatchObject({ outcome: 'refused', limit: 'quota' });
  });

  it('works while Redis forgets its scripts', async () => {
    const { reserve, tenantId } = await openTenant(plentyOfTime(10));
    await Promise.all([reserve({ jobId: 'a' }), reserve({ jobId: 'b' })]);
    await quota.settle([{ tenantId, jobId: 'none', tokens: 1, state: 'succeeded' }]);
    await space.redis.script('FLUSH');
    const batch = ['a', 'b', 'a'].map((jobId) => ({ tenantId, jobId, tokens: 1, state: 'succeeded' as const }));
    expect([...(await quota.settle(batch))].sort()).toEqual(['missing', 'settled', 'settled']);
  });

  it('rejects as a whole when one of the batch cannot be settled, and may be repeated', async () => {
    const good = await openTenant(plentyOfTime(10));
    const bad = await openTenant(plentyOfTime(10));
    await Promise.all([good.reserve({ jobId: 'a' }), bad.reserve({ jobId: 'a' })]);
    await space.redis.rename(bad.key('quota'), bad.key('aside'));
    await space.redis.set(bad.key('quota'), 'not a hash');
    const batch = [bad, good].map(({ tenantId }) => ({ tenantId, jobId: 'a', tokens: 1, state: 'succeeded' as const }));
    await expect(quota.settle(batch)).rejects.toMatchObject({ code: 'quota_unavailable' });
    await space.redis.rename(bad.key('aside'), bad.key('quota'));
    expect(await quota.settle(batch)).toEqual(['settled', 'missing']);
  });
});

describe('load', () => {
  it('lets one of two gateways win, and never adds', async () => {
    const { reserve, tenantId, limits, key } = await openTenant(plentyOfTime(10));
    await space.redis.del(key('quota'), key('holds'), key('expiries'));
    const openHolds = [{ jobId: 'open', tokens: 2, acceptedAtMs: Date.now(), expiresAtMs: Date.now() + 60_000 }];
    const facts = { tenantId, limits, posted: { quota: 3 }, openHolds };
    await Promise.all([quota.load(facts), reserve(), quota.load(facts)]);
    await quota.load({ ...facts, posted: { quota: 9 } });
    const [status] = (await quota.status(tenantId, limits)) ?? [];
    expect(status).toMatchObject({ used: 3 });
    expect([2, 3]).toContain(status?.held);
  });

  it('answers a job that came back after the loss without holding it twice', async () => {
    const { reserve, tenantId, limits } = await openTenant(plentyOfTime(10));
    const openHolds = [{ jobId: 'open', tokens: 2, acceptedAtMs: Date.now(), expiresAtMs: Date.now() + 60_000 }];
    await space.redis.del(`${space.keyPrefix}:{${tenantId}}:quota`);
    await quota.load({ tenantId, limits, posted: { quota: 0 }, openHolds });
    const again = await reserve({ jobId: 'open', cost: 2, facts: 'the job', owner: 'me' });
    expect(again).toMatchObject({
      outcome: 'exists',
      jobId: 'open',
      snapshot: { state: 'reserved', facts: 'the job' },
      limits: [{ held: 2 }],
    });
    expect(await quota.release({ tenantId, jobId: 'open', owner: 'me' })).toBe(true);
  });

  it('starts a rate without what was used in its last window', async () => {
    const limits: readonly Limit[] = [{ name: 'rate', kind: 'rate', max: 10, windowMs: DAY_MS }];
    await quota.load({ tenantId: 'busy', limits, posted: { rate: 7 }, openHolds: [] });
    expect(await quota.status('busy', limits)).toMatchObject([{ used: 7, remaining: 3 }]);
  });

  it('refuses facts of a period that is over', async () => {
    const [limit] = plentyOfTime(10);
    const period = { id: 'old', startsAtMs: 1, endsAtMs: 2, nextId: 'now', nextEndsAtMs: Date.now() + DAY_MS };
    const limits: readonly Limit[] = limit ? [{ ...limit, period }] : [];
    const call = quota.load({ tenantId: 'late', limits, posted: { quota: 5 }, openHolds: [] });
    await expect(call).rejects.toMatchObject({ code: 'quota_unavailable' });
    expect(await quota.status('late', plentyOfTime(10))).toBeUndefined();
  });
});

describe('expired holds', () => {
  it('are found wherever they leaked, some at a time, and can be dropped', async () => {
    const own = { ...space, keyPrefix: `${space.keyPrefix}:leaks` };
    const leaky = createQuota({ redis: own.redis, keyPrefix: own.keyPrefix, logger });
    const limits = plentyOfTime(100);
    const expected: string[] = [];
    for (const tenantId of ['a', 'b', 'c']) {
      await leaky.load({ tenantId, limits, posted: { quota: 0 }, openHolds: [] });
      for (const jobId of ['1', '2', '3']) {
        const job = { tenantId, jobId, owner: 'dead', cost: 1, limits, facts: '' };
        await leaky.reserve({ ...job, holdTtlMs: 0 });
        await leaky.reserve({ ...job, jobId: `fresh-${jobId}`, holdTtlMs: 60_000 });
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
    expect(await leaky.status('a', limits)).toMatchObject([{ held: 3 }]);
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
  });
});
