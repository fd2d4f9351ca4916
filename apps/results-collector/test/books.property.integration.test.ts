import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { TERMINAL_STATES, totalTokens, type LimitUnit } from '@sluice/contracts';
import { createTestDatabase, testServices, type TestDatabase } from '@sluice/local-services';
import { closeRedis, connectRedis, redisReady, type RedisConnection } from '@sluice/quota';
import { createStore, migrate, syncPrices, type Store, type TerminalFact } from '@sluice/store';
import fc from 'fast-check';
import { allLimits, BooksWorld, heldOf, isAbout, KEYS, MODELS, NANO_USD_PER_TOKEN } from './books-world.js';
import type { SubjectLimit, WorldJob } from './books-world.js';
import { logger } from './workbench.js';

const which = fc.nat(15);
const usage = fc
  .tuple(fc.integer({ min: 0, max: 350 }), fc.constantFrom(0, 0, 7))
  .map(([inputTokens, outputTokens]) => ({ inputTokens, outputTokens, cachedTokens: 0 }));
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('reserve' as const),
      apiKeyId: fc.constantFrom(...KEYS),
      model: fc.constantFrom(...MODELS),
      tokens: fc.integer({ min: 1, max: 300 }),
      then: fc.constantFrom('publish' as const, 'publish' as const, 'lose' as const, 'release' as const, undefined),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('publish' as const), which }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('complete' as const),
      which,
      state: fc.constantFrom(...TERMINAL_STATES),
      usage,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('record' as const), picks: fc.array(fc.nat(30), { minLength: 1 }) }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('settle' as const), picks: fc.array(which, { minLength: 1 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('flush' as const, 'sweep' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('beginLoad' as const) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('readForLoad' as const, 'commitLoad' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

async function carryOut(world: BooksWorld, one: Step): Promise<void> {
  const { jobs, queue } = world;
  const jobAt = (index: number): WorldJob[] => (jobs.length === 0 ? [] : jobs.slice(index % jobs.length).slice(0, 1));
  switch (one.do) {
    case 'reserve': {
      const job = await world.reserve(one.apiKeyId, one.model, one.tokens);
      if (job === undefined) return;
      await expectWithinLimits(world);
      if (one.then !== undefined) await world.decide(job, one.then);
      return;
    }
    case 'publish':
      for (const job of jobAt(one.which)) await world.decide(job, 'publish');
      return;
    case 'complete':
      return jobAt(one.which).forEach((job) => world.complete(job, one));
    case 'record':
      return world.record(one.picks.flatMap((pick) => queue.slice(pick % Math.max(1, queue.length)).slice(0, 1)));
    case 'settle':
      return world.settle(one.picks.flatMap(jobAt));
    case 'commitLoad':
      return void (await world.commitLoad());
    case 'sweep':
      return void (await world.sweep());
    case 'flush':
    case 'beginLoad':
    case 'readForLoad':
      return world[one.do]();
    default:
      one satisfies never;
  }
}

/** What a job that ended used in a unit; undefined while it is open. */
function usedBy(end: TerminalFact | undefined, unit: LimitUnit): number | undefined {
  if (end === undefined || end === 'open') return undefined;
  return { requests: 1, tokens: totalTokens(end.usage), nanoUsd: Number(end.amountNanoUsd) }[unit];
}

/**
 * No admission went beyond a limit: what jobs used of their holds, and what is held for those that have not ended, summed up from
 * the test's own notes and the books. What they used beyond is overage.
 */
async function expectWithinLimits(world: BooksWorld): Promise<void> {
  const ends = await world.ends();
  for (const one of allLimits()) {
    const { kind, unit, max, soft = false } = one.limit;
    if (soft) continue;
    const taken = world.jobs
      .filter(({ message, state }) => state !== 'gone' && isAbout(one, message))
      .map(({ message }) => {
        const used = usedBy(ends.get(message.jobId), unit);
        if (used === undefined) return heldOf(message, unit);
        return kind === 'inFlight' ? 0 : Math.min(used, heldOf(message, unit));
      });
    expect({ ...one, taken: Math.max(max, sumOf(taken)) }).toEqual({ ...one, taken: max });
  }
}

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, one) => sum + one, 0);

/** By Redis' own numbers: what is held and used is never above the limit and the overage. */
async function expectSoundState(world: BooksWorld): Promise<void> {
  const state = await world.inspect();
  for (const { subject, limit } of allLimits()) {
    const stored = state?.limits.find((other) => other.name === limit.name && other.subject === subject);
    if (stored === undefined || limit.soft) continue;
    const most = limit.max + stored.overage;
    expect({ ...stored, sum: Math.max(most, stored.held + stored.used) }).toMatchObject({ sum: most });
  }
}

/** Everything comes to its end: what was published is recorded, what is open expires, what has ended is settled. */
async function drain(world: BooksWorld): Promise<void> {
  if ((await world.inspect()) === undefined) {
    await world.beginLoad();
    await world.readForLoad();
    expect(await world.commitLoad()).toBe(true);
  }
  await world.passFence();
  for (let round = 0; (await world.sweep()) > 0 && round < 5; round++) await world.passFence();
  await world.settle(world.jobs);
}

/** Redis and the books agree on every limit, and nothing is held. */
async function expectAgreement(world: BooksWorld): Promise<void> {
  const [state, ends] = [await world.inspect(), await world.ends()];
  const published = world.jobs.filter((job) => job.state === 'published');
  expect([...ends.keys()].sort()).toEqual(published.map(({ message }) => message.jobId).sort());
  expect([...ends.values()]).not.toContain('open');
  expect(state?.holds).toEqual(new Map());
  for (const one of allLimits()) {
    const stored = state?.limits.find(({ name, subject }) => name === one.limit.name && subject === one.subject);
    const { held = 0, used = 0, overage = 0 } = stored ?? {};
    expect({ ...one, held, used, overage }).toEqual({ ...one, held: 0, ...booked(one, published, ends) });
  }
}

/** What the books say that a limit's subject used, and what of it went beyond the holds. */
function booked(one: SubjectLimit, jobs: readonly WorldJob[], ends: ReadonlyMap<string, TerminalFact>) {
  const { kind, unit } = one.limit;
  if (kind === 'inFlight') return { used: 0, overage: 0 };
  const own = jobs.filter(({ message }) => isAbout(one, message));
  const used = own.map(({ message }) => usedBy(ends.get(message.jobId), unit) ?? 0);
  const beyond = own.map(({ message }, index) => Math.max(0, (used[index] ?? 0) - heldOf(message, unit)));
  return { used: sumOf(used), overage: sumOf(beyond) };
}

describe('Redis and the books', () => {
  let database: TestDatabase;
  let store: Store;
  let redis: RedisConnection;

  beforeAll(async () => {
    const { postgresUrl, redisUrl } = testServices();
    database = await createTestDatabase(postgresUrl);
    await migrate({ url: database.url, logger });
    const usdPerMillion = String(NANO_USD_PER_TOKEN / 1_000);
    const prices = MODELS.flatMap((model) =>
      (['input', 'output'] as const).map((meter) => ({ model, meter, usdPerMillion, from: '2026-01-01T00:00:00Z' })),
    );
    await syncPrices({ url: database.url, prices, logger });
    const options = { applicationName: 'books-property', poolSize: 2, statementTimeoutMs: 20_000 };
    store = createStore({ url: database.url, ...options, logger });
    await store.start();
    redis = connectRedis({ url: redisUrl, name: 'books-property', logger });
    await redisReady(redis, 5_000);
  });
  afterAll(async () => {
    await closeRedis(redis);
    await store.stop();
    await database.drop();
  });

  it('agree at the end, and no limit is passed on the way, whatever is lost, repeated, late and loaded meanwhile', async () => {
    let run = 0;
    const seen = { admitted: 0, overage: 0, loads: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 45, size: 'max' }), async (steps) => {
        const world = new BooksWorld({ store, redis, tenantId: `tenant-${(run += 1)}` });
        await world.beginLoad();
        await world.readForLoad();
        await world.commitLoad();
        for (const one of steps) {
          await carryOut(world, one);
          await expectSoundState(world);
        }
        await drain(world);
        await expectAgreement(world);
        seen.admitted += world.jobs.length;
        seen.overage += (await world.inspect())?.limits.filter(({ overage }) => overage > 0).length ?? 0;
        seen.loads += steps.filter((one) => one.do === 'commitLoad').length;
      }),
      { numRuns: 60, interruptAfterTimeLimit: 50_000 },
    );
    expect(Object.values(seen).every((count) => count > 20)).toBe(true);
  }, 60_000);
});
