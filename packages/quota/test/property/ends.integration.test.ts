import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Amounts, Quota, Settlement, StoredLimit } from '../../src/index.js';
import { createModelClient, createQuotaModel } from '../../src/model/index.js';
import { BEGIN_MS, openClockedRedis, type ClockedRedis } from './clocked-redis.js';
import { allScopes, factsOf, HOLD_TTL_MS, type LedgerJob } from './ledger.js';
import { scopesAt } from './plans.js';
import { runs } from './settings.js';

/* How holds end, on a real Redis and, more often, on the model as its client sees it. */

const TENANT = 'acme';
let redis: ClockedRedis;
beforeAll(async () => {
  redis = await openClockedRedis();
});
afterAll(() => redis.close());

interface Place {
  readonly quota: Quota;
  setClock(nowMs: number): Promise<void>;
}

async function onRedis(): Promise<Place> {
  await redis.flush();
  await redis.setClock(BEGIN_MS);
  return { quota: redis.control().quota, setClock: (nowMs) => redis.setClock(nowMs) };
}

async function onModel(): Promise<Place> {
  let [nowMs, tickets] = [BEGIN_MS, 0];
  const model = createQuotaModel({ newId: () => `ticket-${tickets++}` });
  const quota = createModelClient(model, async (_, run) => run(nowMs));
  return { quota, setClock: async (toMs) => void (nowMs = toMs) };
}

interface Job {
  readonly apiKeyId: string;
  readonly model: string;
  readonly amounts: Amounts;
  readonly used: Amounts;
}
const amounts = (most: number) => fc.record({ tokens: fc.nat(most), nanoUsd: fc.nat(10 * most) });
/** Six small ones have room in every limit. */
const jobs: fc.Arbitrary<readonly Job[]> = fc.array(
  fc.record({
    ...{ apiKeyId: fc.constantFrom('k1', 'k2'), model: fc.constantFrom('m1', 'm2') },
    ...{ amounts: amounts(15), used: amounts(25) },
  }),
  { minLength: 1, maxLength: 6, size: 'max' },
);

async function loadLedger(quota: Quota, ledger: ReadonlyMap<string, LedgerJob>, nowMs: number): Promise<void> {
  const ticket = await quota.beginLoad(TENANT);
  expect(await quota.load({ ticket, ...factsOf(ledger, 0, nowMs) })).toBe('loaded');
}

/** A loaded tenant that holds the jobs; their records. */
async function hold({ quota }: Place, all: readonly Job[]): Promise<Map<string, LedgerJob>> {
  await loadLedger(quota, new Map(), BEGIN_MS);
  const ledger = new Map<string, LedgerJob>();
  for (const [i, { apiKeyId, model, amounts: held }] of all.entries()) {
    const answer = await quota.reserve({
      ...{ tenantId: TENANT, jobId: `job-${i}`, owner: 'gateway', apiKeyId, model, amounts: held, facts: '' },
      ...{ scopes: scopesAt(0, BEGIN_MS, apiKeyId, model), acceptedAtMs: BEGIN_MS, holdTtlMs: HOLD_TTL_MS },
    });
    expect(answer.outcome).toBe('reserved');
    const times = { acceptedAtMs: BEGIN_MS, expiresAtMs: BEGIN_MS + HOLD_TTL_MS };
    ledger.set(`job-${i}`, { apiKeyId, model, amounts: held, ...times });
  }
  return ledger;
}

const settlement = (jobId: string, used: Amounts): Settlement => ({
  ...{ tenantId: TENANT, jobId, ...used, outputTokens: 0, state: 'succeeded' },
});

/** What is kept of limits, by name; with no word of when. */
async function counts(quota: Quota, kinds: readonly StoredLimit['kind'][]) {
  const { limits = [], holds } = (await quota.inspect(TENANT)) ?? {};
  const own = limits.filter(({ kind }) => kinds.includes(kind));
  const rows = own.map(({ scope, subject, name, used, held, overage }) => [
    `${scope} ${subject} ${name}`,
    { used, held, overage },
  ]);
  return {
    limits: Object.fromEntries(rows) as Readonly<Record<string, unknown>>,
    holds: [...(holds?.keys() ?? [])].sort(),
  };
}
const ALL = ['rate', 'quota', 'inFlight'] as const;
/** Buckets are full at times, and what is given back to a full one is lost: their state depends on when. */
const COUNTERS = ['quota', 'inFlight'] as const;

/** Which jobs end, in an order, some of them again and again. */
const order = fc.array(fc.nat(5), { maxLength: 14, size: 'max' });

describe.each([
  ['Redis', onRedis, 12],
  ['the model', onModel, 250],
] as const)('on %s', (_, open, count) => {
  it('the order in which jobs are settled, and how often, makes no difference', async () => {
    const property = fc.asyncProperty(jobs, order, order, async (all, one, other) => {
      const states = [];
      for (const ends of [one, other]) {
        const place = await open();
        await hold(place, all);
        const wanted = [...ends, ...all.keys()].filter((i) => i < all.length);
        const outcomes = await place.quota.settle(
          wanted.map((i) => settlement(`job-${i}`, all[i]?.used ?? { tokens: 0, nanoUsd: 0 })),
        );
        expect(outcomes.filter((outcome) => outcome === 'settled')).toHaveLength(all.length);
        states.push(await counts(place.quota, ALL));
      }
      expect(states[1]).toEqual(states[0]);
    });
    await fc.assert(property, runs(count));
  });

  it('nor does the time between them make any, but for rates', async () => {
    const gaps = fc.array(fc.constantFrom(0, 1, 700, 2_000), { minLength: 6, maxLength: 6 });
    const property = fc.asyncProperty(jobs, gaps, gaps, fc.boolean(), async (all, one, other, isReversed) => {
      const states = [];
      for (const [round, waits] of [one, other].entries()) {
        const place = await open();
        await hold(place, all);
        let nowMs = BEGIN_MS;
        const ids = [...all.keys()];
        for (const [i, at] of (round === 1 && isReversed ? ids.reverse() : ids).entries()) {
          await place.setClock((nowMs += waits[i] ?? 0));
          await place.quota.settle([settlement(`job-${at}`, all[at]?.used ?? { tokens: 0, nanoUsd: 0 })]);
        }
        states.push(await counts(place.quota, COUNTERS));
      }
      expect(states[1]).toEqual(states[0]);
    });
    await fc.assert(property, runs(count));
  });

  it('a release gives back all of it, the request included', async () => {
    const property = fc.asyncProperty(jobs, amounts(15), async (all, held) => {
      const place = await open();
      await hold(place, all.slice(1));
      const before = await counts(place.quota, ALL);
      const job = { tenantId: TENANT, jobId: 'released', owner: 'gateway' };
      const answer = await place.quota.reserve({
        ...{ ...job, apiKeyId: 'k1', model: 'm1', amounts: held, facts: '', scopes: scopesAt(0, BEGIN_MS, 'k1', 'm1') },
        ...{ holdTtlMs: HOLD_TTL_MS, acceptedAtMs: BEGIN_MS },
      });
      expect(answer.outcome).toBe('reserved');
      expect(await place.quota.release(job)).toBe(true);
      expect(await place.quota.release(job)).toBe(false);
      expect(await counts(place.quota, ALL)).toEqual(before);
    });
    await fc.assert(property, runs(count));
  });

  it('a load sets what was there before, to the last unit, when the records know all of it', async () => {
    const property = fc.asyncProperty(jobs, order, fc.constantFrom(0, 900, 30_000), async (all, ends, laterMs) => {
      const place = await open();
      const ledger = await hold(place, all);
      await place.setClock(BEGIN_MS + laterMs);
      for (const i of ends) {
        const [jobId, used] = [`job-${i}`, all[i]?.used];
        const job = ledger.get(jobId);
        if (!used || !job) continue;
        await place.quota.settle([settlement(jobId, used)]);
        ledger.set(jobId, { ...job, used });
      }
      const before = await counts(place.quota, COUNTERS);
      await loadLedger(place.quota, ledger, BEGIN_MS + laterMs);
      expect(await counts(place.quota, COUNTERS)).toEqual(before);
      expect(Object.keys(before.limits).length).toBeGreaterThan(allScopes(0, BEGIN_MS).length - 1);
    });
    await fc.assert(property, runs(count));
  });
});
