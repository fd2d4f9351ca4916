import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Fact, Measure, RateWindow } from '../src/index.js';
import { backlog } from '../src/model/rates.js';
import { BEGIN_MS, BUCKET, HOUR, MINUTE } from './random-books.js';
import { accepted, completed, jobIdAt } from './support.js';
import { useTurnedBooks } from './turned-books.js';

const books = useTurnedBooks();

/** A job of a tenant with one key and one model. */
interface Arrival {
  readonly agoMs: number;
  readonly reserved: number;
  readonly used: number;
  readonly isOpen: boolean;
}

async function record(tenantId: string, jobs: readonly Arrival[]): Promise<void> {
  const facts = jobs.flatMap(({ agoMs, reserved, used, isOpen }): Fact[] => {
    const base = { jobId: jobIdAt(BEGIN_MS - agoMs), tenantId };
    const usage = { inputTokens: used, outputTokens: 0, cachedTokens: 0 };
    return [
      accepted({ ...base, reservedTokens: reserved, expiresAtMs: BEGIN_MS + HOUR }),
      ...(isOpen ? [] : [completed({ ...base, usage, reservedTokens: reserved })]),
    ];
  });
  await books.stores[0].recordFacts(facts);
}

/** Tokens that the tenant's bucket lacks. */
async function lacking(tenantId: string, window: RateWindow): Promise<number> {
  const measures: Measure[] = [{ scope: 'tenant', unit: 'tokens', window }];
  const { amounts } = await books.stores[0].quotaFacts({ tenantId, measures });
  return amounts[0]?.used ?? 0;
}

// What it measures to the digit is compared with the model in store-model.integration.test.ts.
describe('quotaFacts', () => {
  it('never measures less of a rate than it really lacks, where the limit was in force', async () => {
    let run = 0;
    const arrival = fc.record({
      agoMs: fc.oneof(fc.integer({ min: 0, max: 40 * MINUTE }), fc.integer({ min: 15 * MINUTE, max: 120 * MINUTE })),
      reserved: fc.integer({ min: 1, max: 400 }),
      used: fc.integer({ min: 0, max: 500 }),
      isOpen: fc.boolean(),
    });
    const window = { kind: 'rate', max: 400, windowMs: 10 * MINUTE } as const;
    const arrivals = fc.array(arrival, { minLength: 1, maxLength: 60, size: 'max' });
    await fc.assert(
      fc.asyncProperty(arrivals, fc.nat(20 * MINUTE), async (all, laterMs) => {
        const tenantId = `tenant-${(run += 1)}`;
        const jobs = admitted(all, window);
        const nowMs = BEGIN_MS + laterMs;
        await books.turn(BEGIN_MS);
        await record(tenantId, jobs);
        await books.turn(nowMs);
        const got = Math.round((await lacking(tenantId, window)) * window.windowMs);
        const debts = jobs.map((one) => ({ atMs: BEGIN_MS, units: beyondHold(one) }));
        const exact = backlog([...jobs.map(withinHold), ...debts], window, nowMs);
        expect(got).toBeGreaterThanOrEqual(exact);
        const recentMs = Math.floor(nowMs / BUCKET) * BUCKET - BUCKET;
        if (jobs.every(({ agoMs }) => BEGIN_MS - agoMs >= recentMs)) expect(got).toBe(exact);
        // What is uncertain is at most one bucket, unless there is overage.
        if (jobs.every((one) => beyondHold(one) === 0)) {
          expect(got).toBeLessThanOrEqual(exact + window.max * window.windowMs);
        }
      }),
      { numRuns: 100 },
    );
  });

  it.each([
    [0, 599_990],
    [5 * HOUR, 299_990],
  ])('knows the debt of a job that was accepted long ago and recorded %d ms ago', async (recordedAgoMs, debt) => {
    const tenantId = `debtor-${recordedAgoMs}`;
    await books.turn(BEGIN_MS);
    await record(tenantId, [{ agoMs: 6 * HOUR, reserved: 10, used: 600_000, isOpen: false }]);
    await books.turn(BEGIN_MS + recordedAgoMs);
    expect(await lacking(tenantId, { kind: 'rate', max: 1_000, windowMs: MINUTE })).toBe(debt);
  });
});

/** The arrivals for which a bucket had room. */
function admitted(arrivals: readonly Arrival[], window: RateWindow): Arrival[] {
  const jobs: Arrival[] = [];
  for (const one of arrivals.toSorted((a, b) => b.agoMs - a.agoMs)) {
    const lacks = backlog(jobs.map(withinHold), window, BEGIN_MS - one.agoMs) / window.windowMs;
    if (lacks + one.reserved <= window.max) jobs.push(one);
  }
  return jobs;
}

/** What a job takes when it is accepted: nobody knows then what it will use beyond. */
function withinHold({ agoMs, used, reserved, isOpen }: Arrival) {
  return { atMs: BEGIN_MS - agoMs, units: isOpen ? reserved : Math.min(used, reserved) };
}

function beyondHold({ used, reserved, isOpen }: Arrival): number {
  return isOpen ? 0 : Math.max(0, used - reserved);
}
