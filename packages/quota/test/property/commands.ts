import { expect } from '@jest/globals';
import type fc from 'fast-check';
import type { Amounts, JobSnapshot, LoadTicket, ScopedLimits, Settlement } from '../../src/index.js';
import type { Event, Maxima } from './invariants.js';
import { factsOf, HOLD_TTL_MS, KEY_TTL_MS, keysOf } from './ledger.js';
import { scopesAt } from './plans.js';
import { both, check, ledgerOf, type World } from './world.js';

export type Command = fc.AsyncCommand<World, undefined>;

/** A command that says what has happened to which tenant. */
export function command(name: string, args: unknown, run: (world: World) => Promise<Event>): Command {
  return {
    check: () => true,
    toString: () => `${name} ${JSON.stringify(args)}`,
    run: async (world) => check(world, await run(world)),
  };
}

export interface ReserveArgs {
  readonly tenantId: string;
  readonly plan: number;
  readonly job: number;
  readonly apiKeyId: string;
  readonly modelName: string;
  readonly amounts: Amounts;
  readonly owner: string;
  readonly key: string | undefined;
  readonly checked: boolean;
  readonly fingerprint: string;
  /** False when the publish fails, so that the records never hear of the job. */
  readonly accepted: boolean;
  /** By how much the caller's clock is wrong. */
  readonly skewMs: number;
  /** By how much the job's id is ahead of Redis' clock; undefined when its time is not told. */
  readonly ahead: number | undefined;
  readonly learn: boolean;
  readonly quantile: number | undefined;
}

function maximaOf(scopes: readonly ScopedLimits[]): Maxima {
  const fields = { tenant: () => 't', apiKey: (id: string) => `k:${id}`, model: (id: string) => `m:${id}` };
  const hard = scopes.flatMap(({ scope, subject, limits }) =>
    limits.flatMap(({ name, max, soft }) => (soft ? [] : [[`${fields[scope](subject)} ${name}`, max] as const])),
  );
  return Object.fromEntries(hard);
}

export const reserve = (args: ReserveArgs): Command =>
  command('reserve', args, async (world) => {
    const { tenantId, amounts, owner, key, checked, fingerprint, apiKeyId, modelName: model } = args;
    const nowMs = world.redis.nowMs();
    const scopes = scopesAt(args.plan, nowMs + args.skewMs, apiKeyId, model);
    const jobId = `${world.generation}-jöb-${args.job}`;
    const idempotency = key === undefined ? undefined : { keyHash: key, fingerprint };
    const reservation = {
      ...{ tenantId, jobId, owner, apiKeyId, model, amounts, scopes, holdTtlMs: HOLD_TTL_MS, learn: args.learn },
      facts: `facts of ${jobId} ✓`,
      ...(args.ahead !== undefined && { acceptedAtMs: nowMs + args.ahead }),
      ...(args.quantile !== undefined && { quantile: args.quantile }),
      ...(idempotency && { idempotency: { ...idempotency, ttlMs: KEY_TTL_MS, checked } }),
    };
    const keyBefore = world.model.kept(tenantId).keys.get(key ?? '');
    const answer = await both(
      world,
      (quota) => quota.reserve(reservation),
      (modelled) => modelled.reserve(reservation),
    );
    if (!answer) return { kind: 'nothing', tenantId };
    world.seen.add(answer.outcome);
    if ('learned' in answer) world.seen.add('learned');
    if (answer.outcome === 'exists') return { kind: 'noted', tenantId };
    const isFreed = keyBefore !== undefined && world.model.kept(tenantId).keys.get(key ?? '') !== keyBefore;
    if (isFreed) world.seen.add('freed');
    if (answer.outcome !== 'reserved') return { kind: isFreed ? 'noted' : 'nothing', tenantId };
    const acceptedAtMs = reservation.acceptedAtMs ?? world.model.kept(tenantId).holds.get(jobId)?.madeAtMs ?? nowMs;
    const times = { acceptedAtMs, expiresAtMs: nowMs + HOLD_TTL_MS };
    const job = { apiKeyId, model, amounts, ...times, ...(idempotency && { idempotency }) };
    if (args.accepted) ledgerOf(world, tenantId).set(jobId, job);
    return { kind: 'reserved', tenantId, jobId, maxima: maximaOf(scopes) };
  });

/** A job of the records, whatever became of it, or one that never was. */
export function pick(world: World, tenantId: string, index: number): string {
  return [...ledgerOf(world, tenantId).keys()].at(-1 - index) ?? 'never-was';
}

export interface SettleArgs {
  readonly tenantId: string;
  readonly job: number;
  /** Times what was reserved, and then some more. */
  readonly share: number;
  readonly more: number;
  readonly outputTokens: number;
  readonly state: Settlement['state'];
}

export async function settleOne(world: World, args: SettleArgs): Promise<Event> {
  const { tenantId, outputTokens, state } = args;
  const jobId = pick(world, tenantId, args.job);
  const job = ledgerOf(world, tenantId).get(jobId);
  const use = (reserved: number): number => Math.floor(reserved * args.share) + args.more;
  const used = { tokens: use(job?.amounts.tokens ?? 1), nanoUsd: use(job?.amounts.nanoUsd ?? 1) };
  const settlement = { tenantId, jobId, ...used, outputTokens, state };
  // A redelivered fact is the same fact.
  if (job?.used) Object.assign(settlement, job.used);
  if (job) ledgerOf(world, tenantId).set(jobId, { ...job, used: job.used ?? used });
  const outcomes = await both(
    world,
    (quota) => quota.settle([settlement]),
    (model, nowMs) => [model.settle(nowMs, settlement)],
  );
  const [outcome = 'early'] = outcomes ?? [];
  world.seen.add(outcome);
  if (outcome === 'settled') return { kind: 'ended', tenantId, jobId };
  return { kind: outcome === 'missing' ? 'noted' : 'unloaded', tenantId };
}

export const settle = (args: SettleArgs): Command => command('settle', args, (world) => settleOne(world, args));

/** Of an accepted job only before it runs: the records forget it, then. */
export const release = (args: { tenantId: string; job: number; owner: string | undefined }): Command =>
  command('release', args, async (world) => {
    const { tenantId, owner } = args;
    const hold = { tenantId, jobId: pick(world, tenantId, args.job) };
    const isLoaded = world.model.inspect(tenantId) !== undefined;
    const released = await both(
      world,
      (quota) => (owner === undefined ? quota.dropHold(hold) : quota.release({ ...hold, owner })),
      (model) => (owner === undefined ? model.dropHold(hold) : model.release({ ...hold, owner })),
    );
    if (!released) return { kind: 'nothing', tenantId };
    world.seen.add('released');
    ledgerOf(world, tenantId).delete(hold.jobId);
    return isLoaded ? { kind: 'ended', ...hold } : { kind: 'unloaded', tenantId };
  });

export const progress = (args: { tenantId: string; job: number; state: 'queued' | 'running' }): Command =>
  command('progress', args, async (world) => {
    const { tenantId, state } = args;
    const job = { tenantId, jobId: pick(world, tenantId, args.job) };
    if (state === 'queued') {
      await both(
        world,
        (quota) => quota.confirm(job),
        (model, nowMs) => model.confirm(nowMs, job),
      );
    } else {
      await both(
        world,
        (quota) => quota.running([job]),
        (model, nowMs) => void model.running(nowMs, job),
      );
    }
    const snapshot = await both(
      world,
      (quota): Promise<JobSnapshot | undefined> => quota.snapshot(tenantId, job.jobId),
      (model, nowMs) => model.snapshot(nowMs, tenantId, job.jobId),
    );
    if (snapshot) world.seen.add(snapshot.state);
    return { kind: 'noted', tenantId };
  });

/** Drops expired holds that the records know nothing of, as the sweeper does. */
export const sweep = (args: { limit: number }): Command => ({
  check: () => true,
  toString: () => `sweep ${JSON.stringify(args)}`,
  async run(world) {
    const query = { nowMs: world.redis.nowMs(), limit: args.limit };
    const { quota } = world.redis.control();
    const found = await quota.expiredHolds(query);
    const all = [...world.ledgers.keys()].flatMap((tenantId) =>
      [...world.model.kept(tenantId).holds].flatMap(([jobId, { expiresAtMs }]) =>
        expiresAtMs <= query.nowMs ? [{ tenantId, jobId }] : [],
      ),
    );
    expect(all).toEqual(expect.arrayContaining([...found]));
    for (const hold of found) {
      if (ledgerOf(world, hold.tenantId).has(hold.jobId)) continue;
      world.seen.add('swept');
      const isLoaded = world.model.inspect(hold.tenantId) !== undefined;
      await both(
        world,
        () => quota.dropHold(hold),
        (model) => model.dropHold(hold),
      );
      await check(world, isLoaded ? { kind: 'ended', ...hold } : { kind: 'unloaded', tenantId: hold.tenantId });
    }
  },
});

export const look = (args: { tenantId: string; plan: number; skewMs: number }): Command =>
  command('look', args, async (world) => {
    const { tenantId } = args;
    const scopes = scopesAt(args.plan, world.redis.nowMs() + args.skewMs, 'k1', 'm2');
    await both(
      world,
      (quota) => quota.status(tenantId, scopes),
      (model, nowMs) => model.status(nowMs, tenantId, scopes),
    );
    await both(
      world,
      async (quota) => sorted(await quota.inspect(tenantId)),
      (model) => sorted(model.inspect(tenantId)),
    );
    return { kind: 'nothing', tenantId };
  });

/** Limits and holds of a tenant in one order. */
function sorted(state: Awaited<ReturnType<World['model']['inspect']>>) {
  const order = (a: { scope: string; subject: string; name: string }) => `${a.scope} ${a.subject} ${a.name}`;
  return state && { ...state, limits: [...state.limits].sort((a, b) => (order(a) < order(b) ? -1 : 1)) };
}

export const unload = (args: { tenantId: string }): Command =>
  command('unload', args, async (world) => {
    await both(
      world,
      (quota) => quota.unload(args.tenantId),
      (model) => model.unload(args.tenantId),
    );
    return { kind: 'unloaded', tenantId: args.tenantId };
  });

export async function lose(world: World): Promise<Event> {
  await world.redis.flush();
  world.model.flush();
  world.generation++;
  return { kind: 'lost' };
}

export const flush = (): Command => command('flush', '', lose);

async function setClock(world: World, byMs: number): Promise<void> {
  await world.redis.setClock(world.redis.nowMs() + byMs);
  world.model.expire(world.redis.nowMs());
}

/** Time passes, or the clock is set. */
export const tick = (args: { byMs: number }): Command =>
  command('tick', args, async (world) => {
    await setClock(world, args.byMs);
    // Keys that expire are gone, which is all that may have changed.
    return { kind: 'lost' };
  });

export const save = (): Command =>
  command('save', '', async (world) => {
    await world.redis.server.run('SAVE');
    world.saved = { image: world.model.image(), atMs: world.redis.nowMs() };
    return { kind: 'lost' };
  });

/** Another process on what was saved last. */
export const restart = (): Command =>
  command('restart', '', async (world) => {
    const { saved } = world;
    if (!saved) return { kind: 'lost' };
    await world.redis.restart(world.redis.nowMs() - saved.atMs);
    world.model.restart(saved.image);
    world.model.expire(world.redis.nowMs());
    world.generation++;
    world.seen.add('restarted');
    return { kind: 'lost' };
  });

export type Meanwhile = 'nothing' | 'settle' | 'another load' | 'a needless load' | 'unload' | 'loss' | 'ten minutes';
export interface LoadArgs {
  readonly tenantId: string;
  readonly plan: number;
  readonly skewMs: number;
  readonly meanwhile: Meanwhile;
  readonly settle: SettleArgs;
  /** Keys that are restored; undefined when they are not asked for. */
  readonly keys: number | undefined;
  /** Whether it is begun only where it is needed. */
  readonly asked: boolean;
}

async function begin(world: World, tenantId: string, limits: readonly ScopedLimits[] | undefined) {
  const begun = await both<LoadTicket | 'loaded' | 'busy'>(
    world,
    async (quota) => {
      const answer = limits ? await quota.beginLoad(tenantId, limits) : await quota.beginLoad(tenantId);
      if (typeof answer === 'object') world.token = answer.token;
      return answer;
    },
    (model) => (limits ? model.beginLoad(tenantId, limits) : model.beginLoad(tenantId)),
  );
  if (typeof begun === 'string') world.seen.add(`begin: ${begun}`);
  return typeof begun === 'object' ? begun : undefined;
}

export const load = (args: LoadArgs): Command =>
  command('load', args, async (world) => {
    const { tenantId } = args;
    const limits = scopesAt(args.plan, world.redis.nowMs() + args.skewMs, 'k1', 'm2');
    const ticket = await begin(world, tenantId, args.asked ? limits : undefined);
    if (!ticket) return { kind: 'nothing', tenantId };
    const nowMs = world.redis.nowMs() + args.skewMs;
    const ledger = ledgerOf(world, tenantId);
    const keys = args.keys === undefined ? {} : { keys: keysOf(ledger, args.keys, nowMs) };
    const facts = { ticket, ...factsOf(ledger, args.plan, nowMs), ...keys };
    await meanwhile(world, { ...args, ticket, limits });
    const outcome = await both(
      world,
      (quota) => quota.load(facts),
      (model) => model.load(facts),
    );
    if (outcome) world.seen.add(outcome);
    return args.meanwhile === 'loss'
      ? { kind: 'lost' }
      : { kind: outcome === 'loaded' ? 'loaded' : 'unloaded', tenantId };
  });

async function meanwhile(
  world: World,
  { tenantId, ticket, limits, ...args }: LoadArgs & { ticket: LoadTicket; limits: readonly ScopedLimits[] },
): Promise<void> {
  const happen: Record<Meanwhile, () => Promise<unknown>> = {
    nothing: () => Promise.resolve(),
    settle: () => settleOne(world, { ...args.settle, tenantId }),
    loss: () => lose(world),
    unload: () =>
      both(
        world,
        (quota) => quota.unload(tenantId),
        (model) => model.unload(tenantId),
      ),
    'another load': () => begin(world, tenantId, undefined),
    'a needless load': async () => {
      await begin(world, tenantId, limits);
      await both(
        world,
        (quota) => quota.keepLoad(ticket),
        (model, nowMs) => model.keepLoad(nowMs, ticket),
      );
      await both(
        world,
        (quota) => quota.leaveLoad(ticket),
        (model, nowMs) => model.leaveLoad(nowMs, ticket),
      );
    },
    'ten minutes': async () => {
      await setClock(world, 616_000);
      // What expires meanwhile is no doing of the load.
      world.dump = await world.redis.dump();
    },
  };
  await happen[args.meanwhile]();
}
