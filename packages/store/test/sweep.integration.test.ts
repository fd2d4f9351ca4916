import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Fact } from '../src/index.js';
import { loadStatement } from '../src/statements.js';
import { BEGIN_MS, factsOf, job, type JobFacts, MINUTE, TENANTS } from './random-books.js';
import { useTurnedBooks } from './turned-books.js';

const books = useTurnedBooks();
const advanceSweep = loadStatement('advance-sweep').text;
const GRACE_MS = 2 * MINUTE;

/** Accepted just now, so that many are recorded before their deadlines, which tie. */
const freshJob = job.map((one) => ({ ...one, offset: -Math.abs(one.offset % MINUTE) }));
/** Accepted facts more often than ends, so that jobs are open when their time passes. */
const pick = fc.tuple(fc.nat(9), fc.constantFrom(0, 0, 0, 1));
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('record' as const),
      picks: fc.array(pick, { minLength: 1, maxLength: 12, size: 'max' }),
    }),
  },
  // Also back: a standby that took over may be behind.
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('turn' as const),
      byMs: fc.integer({ min: -10 * MINUTE, max: 20 * MINUTE }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('advance' as const), count: fc.integer({ min: 1, max: 3 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('sweep' as const), limit: fc.integer({ min: 1, max: 3 }) }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** What was told so far, by job. */
interface World {
  readonly facts: readonly JobFacts[];
  readonly accepted: Map<string, Extract<Fact, { type: 'accepted' }>['message']>;
  readonly ended: Set<string>;
  nowMs: number;
}

async function carryOut(world: World, one: Step): Promise<void> {
  switch (one.do) {
    case 'record':
      return record(world, one.picks);
    case 'turn':
      world.nowMs += one.byMs;
      return books.turn(world.nowMs);
    case 'advance':
      await books.query(advanceSweep, [one.count]);
      return;
    case 'sweep':
      expect(ids(await books.stores[0].expiredOpenHolds(one.limit))).toEqual(expired(world).slice(0, one.limit));
      return;
    default:
      one satisfies never;
  }
}

async function record(world: World, picks: readonly [number, number][]): Promise<void> {
  const facts = picks.flatMap(([which, fact]) => world.facts[which % world.facts.length]?.slice(fact, fact + 1) ?? []);
  await books.stores[1].recordFacts(facts);
  for (const { type, message } of facts) {
    if (type === 'accepted') world.accepted.set(message.jobId, message);
    else world.ended.add(message.jobId);
  }
}

const ids = (jobs: readonly { readonly jobId: string }[]): string[] => jobs.map(({ jobId }) => jobId);

/** Accepted jobs without an end whose deadline and the grace have passed, earliest first. */
function expired({ accepted, ended, nowMs }: World): string[] {
  const late = [...accepted.values()].filter(
    ({ jobId, expiresAtMs }) => !ended.has(jobId) && expiresAtMs < nowMs - GRACE_MS,
  );
  return ids(late.sort((a, b) => a.expiresAtMs - b.expiresAtMs || (a.jobId < b.jobId ? -1 : 1)));
}

/** No open job is forgotten wherever the mark is: a load finds them all, and no others. */
async function expectOpenJobs({ accepted, ended }: World): Promise<void> {
  for (const tenantId of TENANTS) {
    const open = [...accepted.values()].filter((one) => one.tenantId === tenantId && !ended.has(one.jobId));
    const { openHolds } = await books.stores[0].quotaFacts({ tenantId, measures: [] });
    expect(ids(openHolds)).toEqual(ids(open).sort());
  }
}

describe('the sweep', () => {
  it('lists every open job past its time and no other, however its mark moves and whenever facts come', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(freshJob, freshJob, job), { minLength: 2, maxLength: 10, size: 'max' }),
        fc.array(step, { minLength: 1, maxLength: 20, size: 'max' }),
        async (jobs, steps) => {
          await books.empty();
          await books.turn(BEGIN_MS);
          const world: World = { facts: factsOf(jobs), accepted: new Map(), ended: new Set(), nowMs: BEGIN_MS };
          for (const one of steps) {
            await carryOut(world, one);
            await expectOpenJobs(world);
          }
          expect(ids(await books.stores[0].expiredOpenHolds(100))).toEqual(expired(world));
          await expectOpenJobs(world);
          const [lost] = await books.query<{ lost: bigint }>(`SELECT count(*) AS lost FROM v_recon_missing_terminal m
            WHERE NOT EXISTS (SELECT FROM v_recon_open_hold_past_expiry o WHERE o.job_id = m.job_id)`);
          expect(lost).toEqual({ lost: 0n });
        },
      ),
      { numRuns: 50, interruptAfterTimeLimit: 50_000 },
    );
  }, 60_000);
});
