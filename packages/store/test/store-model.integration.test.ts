import { describe, expect, it } from '@jest/globals';
import type { Price } from '@sluice/contracts';
import fc from 'fast-check';
import { type Fact, syncPrices } from '../src/index.js';
import { createStoreModel, type StoreModel } from '../src/model/index.js';
import { logger } from './support.js';
import { booksOf, expectSameReads, readBooks } from './store-model-reads.js';
import { BEGIN_MS, DAY, factsOf, job, type JobFacts, MINUTE, type Questions, questions, turn } from './random-books.js';
import { useTurnedBooks } from './turned-books.js';

const books = useTurnedBooks();

/** Which fact of which job is told. */
const pick = fc.tuple(fc.nat(9), fc.nat(2));
const meterPrice = fc.integer({ min: 0, max: 3_000_000_000 }).map((nanos) => (nanos / 1e9).toFixed(9));
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('record' as const),
      picks: fc.array(pick, { minLength: 1, maxLength: 12, size: 'max' }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('turn' as const), byMs: turn }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('sweep' as const),
      limit: fc.integer({ min: 1, max: 4 }),
      aheadMs: fc.option(fc.integer({ min: -5 * MINUTE, max: 15 * MINUTE }), { nil: undefined }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reprice' as const), usd: meterPrice, inMs: fc.nat(DAY) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('partition' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('look' as const), questions }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** PostgreSQL and its model, side by side. */
interface World {
  readonly model: StoreModel;
  readonly facts: readonly JobFacts[];
  nowMs: number;
  prices: readonly Price[];
}

async function carryOut(world: World, one: Step, index: number): Promise<void> {
  const { model, facts } = world;
  const store = books.stores[index % 2 === 0 ? 0 : 1];
  switch (one.do) {
    case 'record': {
      const batch = one.picks.flatMap(
        ([which, fact]): Fact[] => facts[which % facts.length]?.slice(fact, fact + 1) ?? [],
      );
      expect(await store.recordFacts(batch)).toEqual(model.recordFacts(world.nowMs, batch));
      return;
    }
    case 'turn':
      world.nowMs += one.byMs;
      return books.turn(world.nowMs);
    case 'sweep': {
      const clockMs = one.aheadMs === undefined ? undefined : world.nowMs + one.aheadMs;
      const expired = await store.expiredOpenHolds(one.limit, clockMs);
      expect(expired).toEqual(model.expiredOpenHolds(world.nowMs, one.limit, clockMs));
      return;
    }
    case 'reprice':
      return reprice(world, { usd: one.usd, fromMs: world.nowMs + 1 + one.inMs });
    case 'partition':
      return store.ensurePartitions();
    case 'look':
      return look(world, one.questions);
    default:
      one satisfies never;
  }
}

/** Prices of everything from a time to come; n.b. those configured before for a later time are withdrawn by that. */
async function reprice(world: World, { usd, fromMs }: { usd: string; fromMs: number }): Promise<void> {
  const from = new Date(fromMs).toISOString();
  const meters = ['input', 'output', 'cached', 'request'] as const;
  const begun = world.prices.filter((price) => Date.parse(price.from) <= world.nowMs);
  const added = (['embedder', 'chat'] as const).flatMap((model) =>
    meters.map((meter) => ({ model, meter, usdPerMillion: usd, from })),
  );
  world.prices = [...begun, ...added];
  await syncPrices({ url: books.url, prices: world.prices, logger });
  world.model.syncPrices(world.nowMs, world.prices);
}

async function look({ model, facts, nowMs }: World, asked: Questions): Promise<void> {
  expect(await readBooks(books)).toEqual(booksOf(model));
  const jobs = facts.map(([{ message }]) => ({ jobId: message.jobId, tenantId: message.tenantId }));
  await expectSameReads({ stores: books.stores, model, nowMs }, { jobs, ...asked });
  const expected = model.reconcile(nowMs);
  expect(await verdicts(expected.map(({ view }) => view))).toEqual(expected);
}

/** How many rows views of reconciliation have. */
async function verdicts(views: readonly string[]): Promise<readonly { view: string; rows: number }[]> {
  const counts = views.map((view) => `SELECT '${view}' AS view, count(*)::int AS rows FROM ${view}`);
  return books.query(`${counts.join(' UNION ALL ')} ORDER BY 1`);
}

describe('the model of the store', () => {
  it('answers as PostgreSQL does, whatever is recorded, swept and asked in whatever order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(job, { minLength: 3, maxLength: 10, size: 'max' }),
        fc.array(step, { minLength: 1, maxLength: 14, size: 'max' }),
        questions,
        async (jobs, steps, asked) => {
          await books.empty();
          await books.turn(BEGIN_MS);
          const world: World = { model: createStoreModel(), facts: factsOf(jobs), nowMs: BEGIN_MS, prices: [] };
          await reprice(world, { usd: '0.123456789', fromMs: BEGIN_MS - 2 * DAY });
          for (const [index, one] of steps.entries()) await carryOut(world, one, index);
          await look(world, asked);
        },
      ),
      // Shrinking may take long; what it has found by then is reported.
      { numRuns: 70, interruptAfterTimeLimit: 40_000 },
    );
  }, 60_000);
});
