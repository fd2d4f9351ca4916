import { describe, expect, it } from '@jest/globals';
import type { Measure } from '../src/index.js';
import { accepted, completed, jobIdAt, useBooks } from './support.js';

const books = useBooks();
const SECOND = 1_000;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** By how much the clock that jobs are dated by is ahead of the database's. */
const SKEWS = [0, HOUR, -HOUR, 26 * HOUR, -26 * HOUR];

const perMinute: Measure = {
  scope: 'tenant',
  unit: 'requests',
  window: { kind: 'rate', max: 10, windowMs: MINUTE },
};
/** Gives back so little that the time which a test takes does not show. */
const perDay: Measure = { scope: 'tenant', unit: 'tokens', window: { kind: 'rate', max: 1, windowMs: 24 * HOUR } };

describe('rates of a tenant whose jobs are dated by a clock other than the database’s', () => {
  const usedAt = async (nowMs: number | undefined, measure = perMinute): Promise<number> => {
    const query = { tenantId: 'acme', measures: [measure], ...(nowMs !== undefined && { nowMs }) };
    return (await books.store.quotaFacts(query)).amounts[0]?.used ?? 0;
  };

  it.each(SKEWS)('are told as of that clock, %d ms ahead', async (skewMs) => {
    const nowMs = Date.now() + skewMs;
    const jobIds = Array.from({ length: 10 }, () => jobIdAt(nowMs));
    await books.store.recordFacts(jobIds.map((jobId) => accepted({ jobId, expiresAtMs: nowMs + HOUR })));
    await books.store.recordFacts(jobIds.slice(0, 5).map((jobId) => completed({ jobId })));
    expect(await usedAt(nowMs)).toBe(10);
    expect(await usedAt(nowMs + 30 * SECOND)).toBe(5);
    expect(await usedAt(nowMs + MINUTE)).toBe(0);
  });

  it.each(SKEWS)('count debt by the time since it was recorded, %d ms ahead', async (skewMs) => {
    const nowMs = Date.now() + skewMs;
    const jobId = jobIdAt(nowMs - 2 * HOUR);
    const held = { reservedTokens: 100, reservedNanoUsd: 0 };
    const usage = { inputTokens: 700, outputTokens: 0, cachedTokens: 0 };
    await books.store.recordFacts([
      accepted({ jobId, ...held, expiresAtMs: nowMs }),
      completed({ jobId, ...held, usage }),
    ]);
    const used = await usedAt(Date.now() + skewMs, perDay);
    // What was held counts for one bucket at most, what was used beyond it is owed in full.
    expect(used).toBeGreaterThan(600);
    expect(used).toBeLessThanOrEqual(601);
  });

  it('are told by the database’s clock when no other is named', async () => {
    await books.store.recordFacts([accepted({ jobId: jobIdAt(Date.now() - HOUR) })]);
    expect(await usedAt(undefined)).toBe(0);
    await books.store.recordFacts([accepted({ jobId: jobIdAt(Date.now() + HOUR) })]);
    expect(await usedAt(undefined)).toBe(1);
  });
});

describe('jobs whose deadlines are told by a clock other than the database’s', () => {
  const record = async (expiresAtMs: number): Promise<string> => {
    const jobId = jobIdAt(expiresAtMs - MINUTE);
    await books.store.recordFacts([accepted({ jobId, expiresAtMs })]);
    return jobId;
  };
  const expiredAt = async (nowMs: number, limit = 100): Promise<string[]> =>
    (await books.store.expiredOpenHolds(limit, nowMs)).map(({ jobId }) => jobId);

  it.each([0, -HOUR, 5 * MINUTE])('are past them by that clock, %d ms ahead', async (skewMs) => {
    const nowMs = Date.now() + skewMs;
    const late = await record(nowMs - 3 * MINUTE);
    const later = await record(nowMs - 4 * MINUTE);
    await record(nowMs - MINUTE);
    await record(nowMs + 30 * MINUTE);
    expect(await expiredAt(nowMs)).toEqual([later, late]);
    expect(await expiredAt(nowMs, 1)).toEqual([later]);
    await books.store.recordFacts([completed({ jobId: later, state: 'expired' })]);
    expect(await expiredAt(nowMs)).toEqual([late]);
    expect(await expiredAt(nowMs - 2 * MINUTE)).toEqual([]);
  });

  it('are found once on whichever side of the mark they are', async () => {
    const nowMs = Date.now();
    const jobId = await record(nowMs - 10 * SECOND);
    // Behind the database's clock, so it is noted as overdue, and before the sweep's mark.
    expect(await books.query('SELECT job_id FROM overdue_jobs')).toEqual([{ job_id: jobId }]);
    expect(await expiredAt(nowMs + 5 * MINUTE)).toEqual([jobId]);
  });

  it('wait while that clock is further ahead than is looked through', async () => {
    const nowMs = Date.now() + HOUR;
    const [near, far] = [await record(nowMs - 55 * MINUTE), await record(nowMs - 3 * MINUTE)];
    expect(await expiredAt(nowMs)).toEqual([near]);
    expect(await expiredAt(nowMs)).not.toContain(far);
  });
});
