import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { isServiceError } from '@sluice/contracts';
import fc from 'fast-check';
import type { Amounts, LimitStatus, OpenHold, Posted, ScopedLimits } from '../src/index.js';
import { expectEqual, openReal, PERIOD_MS, scopesAt, TENANT, type Real, type World } from './model-world.js';
import * as model from './quota-model.js';
import { openTestSpace } from './redis.js';

/*
 * Random interleavings of everything that can be done to one tenant, against the model. Redis' clock is the only one:
 * the model is told when each script ran. Callers are wrong about the time by up to half a period.
 */
type Command = fc.AsyncCommand<World, Real>;

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
  skewMs: number;
}): Command =>
  command(`reserve ${JSON.stringify(args)}`, async (world, real) => {
    const { amounts, owner, key, checked, fingerprint, apiKeyId, modelName } = args;
    const { tenant, ledger } = world;
    const scopes = scopesAt(args.plan, (await real.nowMs()) + args.skewMs, apiKeyId, modelName);
    const jobId = `${world.losses}-jöb-${args.job}`;
    const facts = `facts of ${jobId} ✓`;
    const call = real.quota.reserve({
      ...{ tenantId: TENANT, jobId, owner, apiKeyId, model: modelName, amounts, scopes, holdTtlMs: 600_000, facts },
      ...(key !== undefined && { idempotency: { keyHash: key, fingerprint, ttlMs: 600_000, checked } }),
    });
    if (await refusedAsStale(call)) return;
    const answer = await call;
    const nowMs = real.ranAtMs();
    seen.add(answer.outcome);

    const states = tenant.loaded ? scopes.map((scoped) => model.advanced(tenant, scoped, nowMs)) : [undefined];
    const known = states.filter((state) => state !== undefined);
    if (known.length < states.length) return expect(answer).toEqual({ outcome: 'not_loaded' });
    const before = statuses(scopes, known, nowMs);
    const exists = (same: string) =>
      expect(answer).toEqual({
        outcome: 'exists',
        jobId: same,
        snapshot: tenant.snapshots.get(same),
        nowMs,
        limits: before,
      });

    const twin = key === undefined ? undefined : tenant.keys.get(key);
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
    if (key !== undefined && !checked) return expect(answer).toEqual({ outcome: 'key_unknown' });

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
      madeAtMs: nowMs,
      expiresAtMs,
    });
    tenant.snapshots.set(jobId, { state: 'reserved', facts });
    if (key !== undefined) tenant.keys.set(key, { jobId, fingerprint });
    ledger.set(jobId, { apiKeyId, model: modelName, amounts, acceptedAtMs: nowMs, expiresAtMs });
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

type Meanwhile = 'nothing' | 'settle' | 'another load' | 'unload' | 'loss';

const load = (args: { plan: number; skewMs: number; meanwhile: Meanwhile; job: number }): Command =>
  command(`load ${JSON.stringify(args)}`, async (world, real) => {
    const ticket = await real.quota.beginLoad(TENANT);
    Object.assign(world.tenant, { loaded: false, load: { token: ticket.token, notes: new Map() } });
    const facts = factsOf(world, args.plan, (await real.nowMs()) + args.skewMs);
    const happen: Record<Meanwhile, () => Promise<unknown>> = {
      nothing: () => Promise.resolve(),
      settle: () => settleOne(world, real, pick(world, args.job), (reserved) => reserved + 1),
      loss: () => lose(world, real),
      unload: () => real.quota.unload(TENANT).then(() => (world.tenant.load = undefined)),
      'another load': async () => {
        const { token } = await real.quota.beginLoad(TENANT);
        world.tenant.load = { token, notes: new Map() };
      },
    };
    await happen[args.meanwhile]();
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
    ...{ plan, job: fc.nat(9), owner, skewMs, ...subjects },
    amounts: fc.record({ tokens, nanoUsd: fc.nat(900) }),
    key: fc.constantFrom(undefined, 'k1', 'k1', 'κ2'),
    checked: fc.constantFrom(true, true, false),
    fingerprint: fc.constantFrom('f', 'g'),
  })
  .map(reserve);
const smallReserve = fc
  .record({
    ...{ plan: fc.constant(0), job: fc.nat(99), owner, skewMs, ...subjects },
    amounts: fc.record({ tokens: fc.nat(20), nanoUsd: fc.nat(300) }),
    ...{ key: fc.constant(undefined), checked: fc.constant(false), fingerprint: fc.constant('f') },
  })
  .map(reserve);
const anySettle = fc.tuple(fc.nat(3), use).map(([index, how]) => settle({ job: index, ...how }));
const meanwhile = fc.constantFrom<Meanwhile>(
  'nothing',
  'nothing',
  'settle',
  'settle',
  'another load',
  'unload',
  'loss',
);

const commands = fc.commands(
  [
    ...[anyReserve, anyReserve, smallReserve, smallReserve, smallReserve, anySettle, anySettle],
    fc.record({ job: fc.nat(3), owner: fc.option(owner, { nil: undefined }) }).map(release),
    fc.record({ plan, skewMs: fc.constant(0), meanwhile: fc.constant<Meanwhile>('nothing'), job: fc.nat(3) }).map(load),
    fc.record({ plan, skewMs: fc.constant(0), meanwhile, job: fc.nat(3) }).map(load),
    fc.record({ plan, skewMs, meanwhile, job: fc.nat(3) }).map(load),
    fc.record({ plan, skewMs }).map(status),
    fc.constant(0).map(() => command('lose the memory of Redis', lose)),
    fc.constant(0).map(unload),
  ],
  { maxCommands: 60, size: 'max' },
);

const OUTCOMES = [
  ...['reserved', 'refused', 'exists', 'conflict', 'key_unknown', 'not_loaded', 'settled', 'missing', 'early'],
  ...['released', 'superseded', 'stale'],
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
