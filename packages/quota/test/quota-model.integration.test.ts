import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { isServiceError } from '@sluice/contracts';
import fc from 'fast-check';
import type { Amounts, LimitStatus, LoadedKeys, OpenHold, Posted, ScopedLimits } from '../src/index.js';
import { expectEqual, openReal, PERIOD_MS, scopesAt, TENANT, type Real, type World } from './model-world.js';
import * as model from './quota-model.js';
import { openTestSpace } from './redis.js';

/*
 * Random interleavings of everything that can be done to one tenant, against the model. Redis' clock is the only one:
 * the model is told when each script ran. Callers are wrong about the time by up to half a period.
 */
type Command = fc.AsyncCommand<World, Real>;

const KEY_TTL_MS = 600_000;
/** How long a load counts as alive. */
const ALIVE_MS = 2_000;

/** Which outcomes the runs met: a model test that never refused anything proves nothing. */
const seen = new Set<string>();
let space: Awaited<ReturnType<typeof openTestSpace>>;
beforeAll(async () => {
  space = await openTestSpace();
});
afterAll(() => space.close());

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

function statuses(scopes: readonly ScopedLimits[], states: readonly model.ScopeState[], nowMs: number): LimitStatus[] {
  return scopes.flatMap((scoped, i) =>
    scoped.limits.flatMap((limit) => {
      const state = states[i]?.limits.get(limit.name);
      return state ? [model.statusOf(state, scoped, limit, nowMs)] : [];
    }),
  );
}

const reserve = (args: {
  plan: number;
  job: number;
  apiKeyId: string;
  modelName: string;
  amounts: Amounts;
  owner: string;
  key: string | undefined;
  checked: boolean;
  fingerprint: string;
  /** False when the publish fails, so that the records never hear of the job. */
  accepted: boolean;
  skewMs: number;
  /** By how much the job's id is ahead of Redis' clock; undefined when its time is not told. */
  ahead: number | undefined;
}): Command =>
  command(`reserve ${JSON.stringify(args)}`, async (world, real) => {
    const { amounts, owner, key, checked, fingerprint, apiKeyId, modelName } = args;
    const { tenant, ledger } = world;
    const beforeMs = await real.nowMs();
    const scopes = scopesAt(args.plan, beforeMs + args.skewMs, apiKeyId, modelName);
    const acceptedAtMs = args.ahead === undefined ? undefined : beforeMs + args.ahead;
    const jobId = `${world.losses}-jöb-${args.job}`;
    const facts = `facts of ${jobId} ✓`;
    const call = real.quota.reserve({
      ...{ tenantId: TENANT, jobId, owner, apiKeyId, model: modelName, amounts, scopes, holdTtlMs: 600_000, facts },
      ...(acceptedAtMs !== undefined && { acceptedAtMs }),
      ...(key !== undefined && { idempotency: { keyHash: key, fingerprint, ttlMs: KEY_TTL_MS, checked } }),
    });
    if (await refusedAsStale(call)) return;
    const answer = await call;
    const nowMs = real.ranAtMs();
    seen.add(answer.outcome === 'stale' ? 'stale reserve' : answer.outcome);

    const states = tenant.loaded ? scopes.map((scoped) => model.advanced(tenant, scoped, nowMs)) : [undefined];
    const known = states.filter((state) => state !== undefined);
    if (known.length < states.length) return expect(answer).toEqual({ outcome: 'not_loaded' });
    const madeAtMs = acceptedAtMs ?? nowMs;
    const limits = known.flatMap((state) => [...state.limits.values()]);
    const aheadMs = Math.max(0, ...limits.flatMap(({ limit, sinceMs }) => (limit.period ? [sinceMs - nowMs] : [])));
    if (aheadMs > 0) return expect(answer).toEqual({ outcome: 'stale', clearsInMs: aheadMs, nowMs });
    const before = statuses(scopes, known, nowMs);
    const exists = (same: string) =>
      expect(answer).toEqual({
        outcome: 'exists',
        jobId: same,
        snapshot: tenant.snapshots.get(same),
        nowMs,
        limits: before,
      });

    let twin = key === undefined ? undefined : tenant.keys.get(key);
    if (key !== undefined && twin && !tenant.holds.has(twin.jobId)) {
      const state = tenant.snapshots.get(twin.jobId)?.state;
      if (checked && (state === undefined || state === 'reserved')) {
        seen.add('freed');
        tenant.keys.delete(key);
        tenant.snapshots.delete(twin.jobId);
        twin = undefined;
      } else if (state === 'reserved') {
        seen.add('dropped');
        return expect(answer).toEqual({ outcome: 'key_unknown' });
      } else if (state === undefined) seen.add('restored');
    }
    if (twin && twin.fingerprint !== fingerprint) {
      return expect(answer).toEqual({ outcome: 'conflict', jobId: twin.jobId });
    }
    const same = twin?.jobId ?? jobId;
    const hold = tenant.holds.get(same);
    if (hold) hold.owner = owner;
    if (hold && same === jobId && !tenant.snapshots.has(jobId))
      tenant.snapshots.set(jobId, { state: 'reserved', facts });
    if (hold || twin) return exists(same);
    if (tenant.snapshots.has(jobId)) return exists(jobId);
    if (key !== undefined && !checked && nowMs - tenant.keysSinceMs < KEY_TTL_MS) {
      return expect(answer).toEqual({ outcome: 'key_unknown' });
    }

    const staleMs = model.staleFor(limits, madeAtMs, nowMs);
    if (staleMs > 0) return expect(answer).toEqual({ outcome: 'stale', clearsInMs: staleMs, nowMs });
    const firstExpiryMs = Math.min(...[...tenant.holds.values()].map(({ expiresAtMs }) => expiresAtMs));
    const named = scopes.flatMap((scoped, i) => scoped.limits.map(({ name }) => known[i]?.limits.get(name)));
    const waits = named.map((state) => (state ? model.clearsIn(state, amounts, nowMs, firstExpiryMs) : 0));
    const worst = waits.reduce((a, b) => (a === undefined || b === undefined ? undefined : Math.max(a, b)), 0);
    if (worst !== 0) {
      const limit = before[waits.indexOf(worst)];
      return expect(answer).toEqual({ outcome: 'refused', limit, clearsInMs: worst, nowMs, limits: before });
    }

    const after = known.map((state) => model.taken(state, amounts));
    expect(answer).toEqual({ outcome: 'reserved', nowMs, limits: statuses(scopes, after, nowMs) });
    for (const { limit, lack, used, held } of after.flatMap(({ limits }) => [...limits.values()])) {
      if (limit.soft) continue;
      if (limit.kind === 'rate') expect(lack <= BigInt(limit.max) * BigInt(limit.windowMs ?? 1)).toBe(true);
      else expect(used + held <= BigInt(limit.max)).toBe(true);
    }
    scopes.forEach((scoped, i) => after[i] && tenant.scopes.set(model.fieldOf(scoped), after[i]));
    const expiresAtMs = nowMs + 600_000;
    tenant.holds.set(jobId, {
      owner,
      key: key ?? '',
      apiKeyId,
      model: modelName,
      amounts,
      madeAtMs,
      expiresAtMs,
    });
    tenant.snapshots.set(jobId, { state: 'reserved', facts });
    if (key !== undefined) tenant.keys.set(key, { jobId, fingerprint });
    const idempotency = key === undefined ? undefined : { keyHash: key, fingerprint };
    if (args.accepted) {
      ledger.set(jobId, { apiKeyId, model: modelName, amounts, acceptedAtMs: madeAtMs, expiresAtMs, idempotency });
    }
  });

/** A job of the ledger, whatever became of it, or one that never was. */
function pick({ ledger }: World, index: number): string {
  return [...ledger.keys()].at(-1 - index) ?? 'never-was';
}

/** One by one, so that the time of each is known; batches are tested elsewhere. */
async function settleOne(world: World, real: Real, jobId: string, use: (reserved: number) => number): Promise<void> {
  const { tenant, ledger } = world;
  const job = ledger.get(jobId);
  const used = { tokens: use(job?.amounts.tokens ?? 1), nanoUsd: use(job?.amounts.nanoUsd ?? 1) };
  const [outcome] = await real.quota.settle([
    { tenantId: TENANT, jobId, ...used, outputTokens: 0, state: 'succeeded' },
  ]);
  seen.add(String(outcome));
  expect(outcome).toBe(!tenant.loaded ? 'early' : tenant.holds.has(jobId) ? 'settled' : 'missing');
  const known = tenant.snapshots.get(jobId);
  if (known) tenant.snapshots.set(jobId, { ...known, state: 'succeeded' });
  if (tenant.loaded) model.endHold(tenant, jobId, used, 1n, real.ranAtMs());
  else {
    tenant.holds.delete(jobId);
    if (tenant.load && !tenant.load.notes.has(jobId)) tenant.load.notes.set(jobId, used);
  }
  if (job) job.used ??= used;
}

const settle = (args: { job: number; use: (reserved: number) => number; how: string }): Command =>
  command(`settle ${args.job}: ${args.how}`, (world, real) => settleOne(world, real, pick(world, args.job), args.use));

const release = (args: { job: number; owner: string | undefined }): Command =>
  command(`release ${JSON.stringify(args)}`, async (world, real) => {
    const { tenant, ledger } = world;
    const jobId = pick(world, args.job);
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
    if (tenant.loaded) model.endHold(tenant, jobId, { tokens: 0, nanoUsd: 0 }, 0n, real.ranAtMs());
    else tenant.holds.delete(jobId);
  });

async function lose(world: World, real: Real): Promise<void> {
  await real.forget();
  world.tenant = model.emptyTenant();
  world.losses++;
}

const unload = (): Command =>
  command('unload', async ({ tenant }, real) => {
    await real.quota.unload(TENANT);
    Object.assign(tenant, { loaded: false, load: undefined });
  });

/** What the ledger says now, under the limits of a plan. */
function factsOf({ ledger }: World, plan: number, nowMs: number): model.Facts {
  const jobs = [...ledger];
  const all = ['k1', 'k2'].flatMap((k) => ['m1', 'm2'].flatMap((m) => scopesAt(plan, nowMs, k, m)));
  const scopes = [...new Map(all.map((scoped) => [model.fieldOf(scoped), scoped])).values()];
  const posted = scopes.flatMap((scoped): Posted[] =>
    scoped.limits.flatMap(({ name, unit, kind, period, windowMs = 0 }): Posted[] => {
      const sinceMs = period?.startsAtMs ?? nowMs - windowMs;
      const own = jobs.filter(
        ([, job]) =>
          job.acceptedAtMs >= sinceMs &&
          ['t', `k:${job.apiKeyId}`, `m:${job.model}`].includes(model.fieldOf(scoped)) &&
          (kind === 'rate' || job.used !== undefined),
      );
      const of = (amounts: Amounts): number => (unit === 'requests' ? 1 : amounts[unit]);
      const used = own.reduce((sum, [, job]) => sum + of(job.used ?? job.amounts), 0);
      const over = own.reduce((sum, [, job]) => sum + Math.max(0, of(job.used ?? job.amounts) - of(job.amounts)), 0);
      const { scope, subject } = scoped;
      return kind === 'inFlight' ? [] : [{ scope, subject, name, used, overage: period ? over : 0 }];
    }),
  );
  const openHolds = jobs.flatMap(([jobId, { used, ...job }]): OpenHold[] => (used ? [] : [{ jobId, ...job }]));
  return { scopes, cover: scopes.flatMap(({ limits }) => limits.map(({ name }) => name)), posted, openHolds };
}

/** Keys of the ledger, newest first: none, the newest `count` or all of them. */
function keysOf({ ledger }: World, count: number): LoadedKeys {
  const jobs = [...ledger].reverse().flatMap(([jobId, { idempotency, acceptedAtMs }]) => {
    return idempotency ? [{ ...idempotency, jobId, acceptedAtMs, expiresAtMs: acceptedAtMs + KEY_TTL_MS }] : [];
  });
  const entries = jobs.slice(0, count);
  return { entries, sinceMs: count >= jobs.length ? 0 : (entries.at(-1)?.acceptedAtMs ?? Date.now()) + 1 };
}

type Meanwhile = 'nothing' | 'settle' | 'another load' | 'a needless load' | 'unload' | 'loss';
interface LoadArgs {
  readonly plan: number;
  readonly skewMs: number;
  readonly meanwhile: Meanwhile;
  readonly job: number;
  /** Keys that are restored; undefined when they are not asked for. */
  readonly keys: number | undefined;
  /** Whether it is begun only where it is needed. */
  readonly asked: boolean;
}

/** Begins a load; undefined when it is not needed. */
async function begin({ tenant }: World, real: Real, limits: readonly ScopedLimits[] | undefined) {
  const begun = await (limits ? real.quota.beginLoad(TENANT, limits) : real.quota.beginLoad(TENANT));
  const nowMs = real.ranAtMs();
  const isReady = tenant.loaded && model.knows(tenant, limits ?? []);
  const isBusy = tenant.load !== undefined && nowMs < tenant.load.aliveUntilMs;
  if (limits && (isReady || isBusy)) {
    seen.add(isReady ? 'loaded already' : 'busy');
    expect(begun).toBe(isReady ? 'loaded' : 'busy');
    return undefined;
  }
  if (typeof begun === 'string') throw new Error(`begin answered ${begun}`);
  const underWay = { token: begun.token, notes: new Map<string, Amounts>(), aliveUntilMs: nowMs + ALIVE_MS };
  Object.assign(tenant, { loaded: false, load: underWay });
  return begun;
}

const load = (args: LoadArgs): Command =>
  command(`load ${JSON.stringify(args)}`, async (world, real) => {
    const limits = scopesAt(args.plan, (await real.nowMs()) + args.skewMs, 'k1', 'm2');
    const ticket = await begin(world, real, args.asked ? limits : undefined);
    if (!ticket) return;
    const facts = {
      ...factsOf(world, args.plan, (await real.nowMs()) + args.skewMs),
      ...(args.keys !== undefined && { keys: keysOf(world, args.keys) }),
    };
    const happen: Record<Meanwhile, () => Promise<unknown>> = {
      nothing: () => Promise.resolve(),
      settle: () => settleOne(world, real, pick(world, args.job), (reserved) => reserved + 1),
      loss: () => lose(world, real),
      unload: () => real.quota.unload(TENANT).then(() => (world.tenant.load = undefined)),
      'another load': () => begin(world, real, undefined),
      'a needless load': async () => {
        expect(await begin(world, real, limits)).toBeUndefined();
        expect(await real.quota.keepLoad(ticket)).toBe(true);
        await real.quota.leaveLoad(ticket);
        if (world.tenant.load) world.tenant.load.aliveUntilMs = 0;
      },
    };
    await happen[args.meanwhile]();
    model.restoreKeys(world.tenant, facts.keys?.entries ?? []);
    const call = real.quota.load({ ticket, ...facts });
    if (world.tenant.load?.token !== ticket.token) {
      seen.add('superseded');
      return expect(await call).toBe('superseded');
    }
    const stale = await refusedAsStale(call);
    if (stale) seen.add('stale');
    else expect(await call).toBe('loaded');
    const stagedAtMs = facts.scopes.length > 0 ? real.stagedAtMs() : 0;
    expect(stale).toBe(!model.load(world.tenant, facts, stagedAtMs, real.ranAtMs()));
  });

const status = (args: { plan: number; skewMs: number }): Command =>
  command(`status ${JSON.stringify(args)}`, async ({ tenant }, real) => {
    const scopes = scopesAt(args.plan, (await real.nowMs()) + args.skewMs, 'k1', 'm2');
    const answer = await real.quota.status(TENANT, scopes);
    const nowMs = real.ranAtMs();
    const read = (): (model.ScopeState | undefined)[] => scopes.map((scoped) => model.advanced(tenant, scoped, nowMs));
    let states: readonly (model.ScopeState | undefined)[] = [undefined];
    try {
      if (tenant.loaded) states = read();
    } catch (error) {
      // A caller whose periods are over is told of use in none.
      if (error instanceof model.PeriodsOver) return;
      throw error;
    }
    const known = states.filter((state) => state !== undefined);
    expect(answer).toEqual(known.length < states.length ? undefined : statuses(scopes, known, nowMs));
  });

const plan = fc.constantFrom(0, 0, 0, 1, 2);
const skewMs = fc.integer({ min: -PERIOD_MS / 2, max: PERIOD_MS / 2 });
/** Ids are minted a little before Redis sees them, and by a clock that is a little wrong. */
const ahead = fc.constantFrom(undefined, undefined, 0, -1, -2, 2, -PERIOD_MS / 4);
const owner = fc.constantFrom('gateway-a', 'gateway-b');
const tokens = fc.oneof(
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
const subjects = { apiKeyId: fc.constantFrom('k1', 'k2'), modelName: fc.constantFrom('m1', 'm2') };

const anyReserve = fc
  .record({
    ...{ plan, job: fc.nat(9), owner, skewMs, ahead, ...subjects },
    amounts: fc.record({ tokens, nanoUsd: fc.nat(900) }),
    key: fc.constantFrom(undefined, 'k1', 'k1', 'κ2'),
    checked: fc.constantFrom(true, true, false),
    fingerprint: fc.constantFrom('f', 'f', 'g'),
    accepted: fc.constantFrom(true, true, false),
  })
  .map(reserve);
const smallReserve = fc
  .record({
    ...{ plan: fc.constant(0), job: fc.nat(99), owner, skewMs, ahead, ...subjects },
    amounts: fc.record({ tokens: fc.nat(20), nanoUsd: fc.nat(300) }),
    ...{ key: fc.constant(undefined), checked: fc.constant(false), fingerprint: fc.constant('f') },
    accepted: fc.constant(true),
  })
  .map(reserve);
/** Same keys again and again, of jobs that seldom are refused and often are not accepted. */
const keyed = fc.record({
  ...{ plan: fc.constant(0), job: fc.nat(99), owner, skewMs, ahead, ...subjects },
  amounts: fc.record({ tokens: fc.nat(5), nanoUsd: fc.nat(50) }),
  ...{ key: fc.constantFrom('k1', 'κ2'), checked: fc.boolean(), fingerprint: fc.constantFrom('f', 'f', 'f', 'g') },
  accepted: fc.boolean(),
});
const keyedReserve = keyed.map(reserve);
const anySettle = fc.tuple(fc.nat(3), use).map(([index, how]) => settle({ job: index, ...how }));
const meanwhile = fc.constantFrom<Meanwhile>(
  'nothing',
  'nothing',
  'settle',
  'settle',
  'another load',
  'a needless load',
  'unload',
  'loss',
);
const loading = { plan, job: fc.nat(3), keys: fc.constantFrom(undefined, 1, 9, 99), asked: fc.boolean() };
const nothing = fc.constant<Meanwhile>('nothing');

/** What chance alone seldom does: the same key before a load and after it. */
const keyedAroundLoad = fc
  .tuple(keyed, fc.record({ ...loading, asked: fc.constant(false), skewMs: fc.constant(0), meanwhile }), keyed)
  .map(([before, around, after]) =>
    command('a key around a load', async (world, real) => {
      await reserve({ ...before, checked: true }).run(world, real);
      await load(around).run(world, real);
      await reserve({ ...after, key: before.key }).run(world, real);
    }),
  );

const commands = fc.commands(
  [
    ...[anyReserve, anyReserve, smallReserve, smallReserve, keyedReserve, keyedAroundLoad, anySettle, anySettle],
    fc.record({ job: fc.nat(3), owner: fc.option(owner, { nil: undefined }) }).map(release),
    fc.record({ ...loading, skewMs: fc.constant(0), meanwhile: nothing }).map(load),
    fc.record({ ...loading, skewMs: fc.constant(0), meanwhile }).map(load),
    fc.record({ ...loading, skewMs, meanwhile }).map(load),
    fc.record({ plan, skewMs }).map(status),
    fc.constant(0).map(() => command('lose the memory of Redis', lose)),
    fc.constant(0).map(unload),
  ],
  { maxCommands: 60, size: 'max' },
);

const OUTCOMES = [
  ...[
    'reserved',
    'refused',
    'exists',
    'conflict',
    'key_unknown',
    'stale reserve',
    'not_loaded',
    'settled',
    'missing',
    'early',
  ],
  ...['released', 'superseded', 'stale', 'dropped', 'freed', 'restored', 'loaded already', 'busy'],
];

describe('the scripts', () => {
  it('do what the model does, whatever comes in whatever order', async () => {
    const real = openReal(space.redis, space.keyPrefix);
    await fc.assert(
      fc.asyncProperty(commands, async (list) => {
        await real.forget();
        const world: World = { tenant: model.emptyTenant(), ledger: new Map(), losses: 0 };
        await fc.asyncModelRun(() => ({ model: world, real }), list);
      }),
      { numRuns: 150 },
    );
    expect([...seen].sort()).toEqual([...OUTCOMES].sort());
  }, 120_000);
});
