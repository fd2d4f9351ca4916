import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { isServiceError } from '@sluice/contracts';
import { createQuota, LARGEST_MAX, type Limit, type OpenHold, type Quota } from '../src/index.js';
import * as model from './quota-model.js';
import { forget, logger, openTestSpace, redisNowMs, storedState } from './redis.js';

/*
 * Random interleavings of everything that can be done to one tenant, against the model. Redis' clock is the only one:
 * the model is told when each script ran. Windows and periods last some 30 ms, so buckets refill and periods turn in
 * the middle of a run; callers are wrong about the time by up to half a period.
 */
const PERIOD_MS = 40;
const TENANT = 'mandant-ü';
const PLANS: readonly (readonly Omit<Limit, 'period'>[])[] = [
  [
    { name: 'per-minute', kind: 'rate', max: 100, windowMs: 50 },
    { name: 'per-month', kind: 'quota', max: 300 },
  ],
  [
    { name: 'per-minute', kind: 'rate', max: 37, windowMs: 20 },
    { name: 'per-month', kind: 'quota', max: 90 },
  ],
  [
    { name: 'per-minute', kind: 'rate', max: 100_000_000_000, windowMs: 60_000 },
    { name: 'per-month', kind: 'quota', max: LARGEST_MAX },
  ],
  [
    { name: 'per-minute', kind: 'rate', max: 60, windowMs: 50 },
    { name: 'per-month', kind: 'quota', max: 200 },
    { name: 'per-day', kind: 'quota', max: 120 },
    { name: 'per-second', kind: 'rate', max: 50, windowMs: 7 },
  ],
];

interface LedgerJob {
  readonly reserved: number;
  readonly acceptedAtMs: number;
  readonly expiresAtMs: number;
  used?: number;
}

/** What the model knows: the tenant as Redis should have it, and the ledger beside it. */
interface World {
  tenant: model.TenantModel;
  readonly ledger: Map<string, LedgerJob>;
  losses: number;
}

/** What is tested: the package on a real Redis, with the time at which each script ran. */
interface Real {
  readonly quota: Quota;
  ranAtMs(): number;
  nowMs(): Promise<number>;
  stored(): Promise<{ limits: Record<string, string>; holds: Record<string, string>; expiries: string[] }>;
  forget(): Promise<void>;
}

/** Which outcomes the runs met: a model test that never refused anything proves nothing. */
const seen = new Set<string>();

type Command = fc.AsyncCommand<World, Real>;
let space: Awaited<ReturnType<typeof openTestSpace>>;
beforeAll(async () => {
  space = await openTestSpace();
});
afterAll(() => space.close());

/** Notes when the scripts ran by looking at their replies on the way back. */
function observeTimes(redis: Redis): () => number {
  let ranAtMs = 0;
  const note = (reply: unknown): unknown => {
    if (Array.isArray(reply)) ranAtMs = Number(reply[1]);
    return reply;
  };
  const commands = redis as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  for (const name of ['quota_reserve', 'quota_release', 'quota_load', 'quota_status']) {
    const original = commands[name]?.bind(redis);
    commands[name] = async (...args) => note(await original?.(...args));
  }
  const pipeline = redis.pipeline.bind<() => ReturnType<Redis['pipeline']>>(redis);
  redis.pipeline = () => {
    const made = pipeline();
    const exec = made.exec.bind(made);
    made.exec = async () => {
      const replies = await exec();
      replies?.forEach(([, reply]) => note(reply));
      return replies;
    };
    return made;
  };
  return () => ranAtMs;
}

function openReal(redis: Redis, keyPrefix: string): Real {
  const quota = createQuota({ redis, keyPrefix, logger });
  const key = (name: string) => `${keyPrefix}:{${TENANT}}:${name}`;
  return {
    quota,
    ranAtMs: observeTimes(redis),
    nowMs: () => redisNowMs(redis),
    async stored() {
      const state = await storedState(redis, { quota: key('quota'), holds: key('holds') });
      return { ...state, expiries: await redis.zrange(key('expiries'), '0', '-1', 'WITHSCORES') };
    },
    forget: () => forget(redis, `${keyPrefix}:*`),
  };
}

/** The limits as a gateway whose clock is off by `skewMs` knows them. */
function limitsAt(plan: number, nowMs: number): readonly Limit[] {
  const index = Math.floor(nowMs / PERIOD_MS);
  const period = {
    id: `p${index}`,
    startsAtMs: index * PERIOD_MS,
    endsAtMs: (index + 1) * PERIOD_MS,
    nextId: `p${index + 1}`,
    nextEndsAtMs: (index + 2) * PERIOD_MS,
  };
  return (PLANS[plan] ?? []).map((limit) => (limit.kind === 'quota' ? { ...limit, period } : limit));
}

/** True when the call failed because the caller's clock was too wrong, as it may on a machine that stalls. */
async function refusedAsStale(call: Promise<unknown>): Promise<boolean> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error === undefined) return false;
  if (!isServiceError(error) || error.code !== 'quota_unavailable') throw error as Error;
  expect(String(error.cause)).toMatch(/periods of the caller are over|turned while it was loaded/);
  return true;
}

/** After every step: Redis keeps exactly what the model has, and every open hold is counted. */
async function expectEqual(world: World, real: Real): Promise<void> {
  const { tenant } = world;
  const stored = await real.stored();
  const limits = [...tenant.limits].map(([name, state]) => [name, model.storedText(state)]);
  expect(stored.limits).toEqual(Object.fromEntries(limits));
  const holds = [...tenant.holds].map(([jobId, { owner, key, takes }]) => {
    const texts = takes.map(({ limit, amount, periodId }) => `${limit} ${amount} ${periodId ?? false}`);
    return [jobId, `${key} ${owner} ${texts.join(' ')}`];
  });
  expect(stored.holds).toEqual(Object.fromEntries(holds));
  const expiries = [...tenant.holds].map(([jobId, { expiresAtMs }]) => [jobId, String(expiresAtMs)]);
  expect(Object.fromEntries(pairs(stored.expiries))).toEqual(Object.fromEntries(expiries));
  for (const [name, state] of tenant.limits) {
    if (state.kind !== 'quota') continue;
    const takes = [...tenant.holds.values()].flatMap((hold) => hold.takes);
    const open = takes.filter((take) => take.limit === name && take.periodId === state.periodId);
    expect(open.reduce((sum, { amount }) => sum + amount, 0n)).toBe(state.held);
  }
}

function pairs(list: readonly string[]): [string, string][] {
  return list.flatMap((item, i) => (i % 2 === 0 ? [[item, list[i + 1] ?? ''] as [string, string]] : []));
}

function command(name: string, run: (world: World, real: Real) => Promise<void>): Command {
  return {
    check: () => true,
    toString: () => name,
    async run(world, real) {
      await run(world, real);
      await expectEqual(world, real);
    },
  };
}

const reserve = (args: {
  plan: number;
  job: number;
  cost: number;
  owner: string;
  key: string | undefined;
  fingerprint: string;
  skewMs: number;
}): Command =>
  command(`reserve ${JSON.stringify(args)}`, async (world, real) => {
    const { cost, owner, key, fingerprint } = args;
    const { tenant, ledger } = world;
    const limits = limitsAt(args.plan, (await real.nowMs()) + args.skewMs);
    const jobId = `${world.losses}-jöb-${args.job}`;
    const idempotency = key === undefined ? {} : { idempotency: { keyHash: key, fingerprint, ttlMs: 600_000 } };
    const call = real.quota.reserve({
      ...{ tenantId: TENANT, jobId, owner, cost, limits, holdTtlMs: 600_000, facts: `facts of ${jobId} ✓` },
      ...idempotency,
    });
    if (await refusedAsStale(call)) return;
    const answer = await call;
    const nowMs = real.ranAtMs();
    seen.add(answer.outcome);

    const states = limits.map((limit) => model.advanced(tenant.limits.get(limit.name), limit, nowMs));
    if (!tenant.loaded || states.includes(undefined)) return expect(answer).toEqual({ outcome: 'not_loaded' });
    const known = states.filter((state) => state !== undefined);
    const statuses = (of: readonly model.LimitState[]) =>
      limits.flatMap((limit, i) => (of[i] ? [model.statusOf(of[i], limit, nowMs)] : []));

    const twin = key === undefined ? undefined : tenant.keys.get(key);
    if (twin && twin.fingerprint !== fingerprint) {
      return expect(answer).toEqual({ outcome: 'conflict', jobId: twin.jobId });
    }
    const same = twin?.jobId ?? jobId;
    const hold = tenant.holds.get(same);
    if (hold) hold.owner = owner;
    const snapshot = tenant.snapshots.get(same);
    if (snapshot !== undefined) {
      return expect(answer).toEqual({ outcome: 'exists', jobId: same, snapshot, limits: statuses(known) });
    }

    const waits = limits.map((limit, i) => (known[i] ? model.clearsIn(known[i], limit, BigInt(cost), nowMs) : 0));
    const worst = waits.reduce((a, b) => (a === undefined || b === undefined ? undefined : Math.max(a, b)), 0);
    if (worst !== 0) {
      const limit = limits[waits.indexOf(worst)]?.name;
      return expect(answer).toEqual({ outcome: 'refused', limit, clearsInMs: worst, limits: statuses(known) });
    }

    const after = known.map((state) => model.taken(state, BigInt(cost)));
    expect(answer).toEqual({ outcome: 'reserved', limits: statuses(after) });
    after.forEach((state, i) => {
      const max = BigInt(limits[i]?.max ?? 0);
      if (state.kind === 'quota') expect(state.used + state.held).toBeLessThanOrEqual(max);
      else expect(state.credit).toBeGreaterThanOrEqual(0n);
    });
    limits.forEach(({ name }, i) => after[i] && tenant.limits.set(name, after[i]));
    const takes = limits.map(({ name, kind }, i) => {
      const periodId = after[i]?.kind === 'quota' ? after[i].periodId : undefined;
      return { limit: name, kind, amount: BigInt(cost), periodId };
    });
    tenant.holds.set(jobId, { owner, key: key ?? '', takes, expiresAtMs: nowMs + 600_000 });
    tenant.snapshots.set(jobId, { state: 'reserved', facts: `facts of ${jobId} ✓` });
    if (key !== undefined) tenant.keys.set(key, { jobId, fingerprint });
    ledger.set(jobId, { reserved: cost, acceptedAtMs: nowMs, expiresAtMs: nowMs + 600_000 });
  });

/** A job of the ledger, whatever became of it, or one that never was. */
function pick(world: World, index: number): string {
  return [...world.ledger.keys()].at(-1 - index) ?? 'never-was';
}

const settle = (args: { jobs: readonly { job: number; use: (reserved: number) => number; how: string }[] }): Command =>
  command(`settle ${args.jobs.map(({ job, how }) => `${job}: ${how}`).join(', ')}`, async (world, real) => {
    const { tenant, ledger } = world;
    const batch = args.jobs.map(({ job, use }) => {
      const jobId = pick(world, job);
      return { tenantId: TENANT, jobId, tokens: use(ledger.get(jobId)?.reserved ?? 1), state: 'succeeded' as const };
    });
    // One by one, so that the time of each is known; batches are tested elsewhere.
    for (const settlement of batch) {
      const { jobId, tokens, state } = settlement;
      const outcomes = await real.quota.settle([settlement]);
      outcomes.forEach((outcome) => seen.add(outcome));
      expect(outcomes).toEqual([tenant.holds.has(jobId) ? 'settled' : 'missing']);
      const known = tenant.snapshots.get(jobId);
      if (known) tenant.snapshots.set(jobId, { ...known, state });
      model.endHold(tenant, jobId, BigInt(tokens), real.ranAtMs());
      const job = ledger.get(jobId);
      if (job) job.used ??= tokens;
    }
  });

const release = (args: { job: number; owner: string | undefined }): Command =>
  command(`release ${JSON.stringify(args)}`, async ({ tenant, ledger, ...world }, real) => {
    const jobId = pick({ tenant, ledger, ...world }, args.job);
    const hold = tenant.holds.get(jobId);
    const { owner } = args;
    const ref = { tenantId: TENANT, jobId };
    const released = await (owner === undefined ? real.quota.dropHold(ref) : real.quota.release({ ...ref, owner }));
    const expected = hold !== undefined && (owner === undefined || hold.owner === owner);
    expect(released).toBe(expected);
    if (!expected) return;
    seen.add('released');
    if (hold.key !== '' && tenant.keys.get(hold.key)?.jobId === jobId) tenant.keys.delete(hold.key);
    tenant.snapshots.delete(jobId);
    ledger.delete(jobId);
    model.endHold(tenant, jobId, 0n, real.ranAtMs());
  });

const lose = (): Command =>
  command('lose the memory of Redis', async (world, real) => {
    await real.forget();
    world.tenant = model.emptyTenant();
    world.losses++;
  });

const load = (args: { plan: number; skewMs: number }): Command =>
  command(`load ${JSON.stringify(args)}`, async ({ tenant, ledger }, real) => {
    const limits = limitsAt(args.plan, (await real.nowMs()) + args.skewMs);
    const jobs = [...ledger];
    const nowMs = await real.nowMs();
    const postedSince = (fromMs: number, toMs: number): number =>
      jobs
        .filter(([, { acceptedAtMs }]) => acceptedAtMs >= fromMs && acceptedAtMs < toMs)
        .reduce((sum, [, { used }]) => sum + (used ?? 0), 0);
    const posted = Object.fromEntries(
      limits.map(({ name, period, windowMs = 0 }) => [
        name,
        period ? postedSince(period.startsAtMs, period.endsAtMs) : postedSince(nowMs - windowMs, Infinity),
      ]),
    );
    const openHolds: OpenHold[] = jobs
      .filter(([, { used }]) => used === undefined)
      .map(([jobId, { reserved, acceptedAtMs, expiresAtMs }]) => ({
        jobId,
        tokens: reserved,
        acceptedAtMs,
        expiresAtMs,
      }));
    const call = real.quota.load({ tenantId: TENANT, limits, posted, openHolds });
    const stale = await refusedAsStale(call);
    if (stale) seen.add('stale');
    expect(stale).toBe(!model.load(tenant, { limits, posted, openHolds }, real.ranAtMs()));
  });

const status = (args: { plan: number; skewMs: number }): Command =>
  command(`status ${JSON.stringify(args)}`, async ({ tenant }, real) => {
    const limits = limitsAt(args.plan, (await real.nowMs()) + args.skewMs);
    const call = real.quota.status(TENANT, limits);
    if (await refusedAsStale(call)) return;
    const nowMs = real.ranAtMs();
    const states = limits.map((limit) => model.advanced(tenant.limits.get(limit.name), limit, nowMs));
    const unknown = !tenant.loaded || states.includes(undefined);
    const statuses = limits.flatMap((limit, i) => (states[i] ? [model.statusOf(states[i], limit, nowMs)] : []));
    expect(await call).toEqual(unknown ? undefined : statuses);
  });

const plan = fc.nat(PLANS.length - 1);
const skewMs = fc.integer({ min: -PERIOD_MS / 2, max: PERIOD_MS / 2 });
const owner = fc.constantFrom('gateway-a', 'gateway-b');
const cost = fc.oneof(
  { weight: 8, arbitrary: fc.nat(60) },
  { weight: 1, arbitrary: fc.integer({ min: 100, max: 400 }) },
  { weight: 1, arbitrary: fc.integer({ min: 10_000_000_000, max: 99_999_999_999 }) },
);
const use = fc.constantFrom(
  { how: 'all', use: (reserved: number) => reserved },
  { how: 'half', use: (reserved: number) => Math.floor(reserved / 2) },
  { how: 'nothing', use: () => 0 },
  { how: 'more', use: (reserved: number) => reserved + 13 },
);
const job = fc.nat(9);

const anyReserve = fc
  .record({
    ...{ plan, job, cost, owner, skewMs },
    key: fc.constantFrom(undefined, 'k1', 'κ2'),
    fingerprint: fc.constantFrom('f', 'f', 'g'),
  })
  .map(reserve);
const smallReserve = fc
  .record({
    ...{ plan: fc.constant(0), job: fc.nat(99), cost: fc.nat(20), owner, skewMs },
    key: fc.constant(undefined),
    fingerprint: fc.constant('f'),
  })
  .map(reserve);
const anySettle = fc
  .array(
    fc.tuple(fc.nat(3), use).map(([index, how]) => ({ job: index, ...how })),
    { minLength: 1, maxLength: 3 },
  )
  .map((jobs) => settle({ jobs }));

const commands = fc.commands(
  [
    ...[anyReserve, anyReserve, smallReserve, smallReserve, smallReserve, anySettle, anySettle],
    fc.record({ job: fc.nat(3), owner: fc.option(owner, { nil: undefined }) }).map(release),
    fc.record({ plan, skewMs: fc.constant(0) }).map(load),
    fc.record({ plan, skewMs }).map(load),
    fc.record({ plan, skewMs }).map(status),
    fc.constant(0).map(lose),
  ],
  { maxCommands: 60, size: 'max' },
);

const OUTCOMES = ['reserved', 'refused', 'exists', 'conflict', 'not_loaded', 'settled', 'missing', 'released', 'stale'];

describe('the scripts', () => {
  it('do what the model does, whatever comes in whatever order', async () => {
    const real = openReal(space.redis, space.keyPrefix);
    await fc.assert(
      fc.asyncProperty(commands, async (list) => {
        await real.forget();
        const world = { tenant: model.emptyTenant(), ledger: new Map<string, LedgerJob>(), losses: 0 };
        await fc.asyncModelRun(() => ({ model: world, real }), list);
      }),
      { numRuns: 80 },
    );
    expect([...seen].sort()).toEqual([...OUTCOMES].sort());
  });
});
