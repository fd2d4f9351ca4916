import { describe, expect, it } from '@jest/globals';
import { newJobId } from '@sluice/contracts';
import fc from 'fast-check';
import { type Fact, syncPrices } from '../src/index.js';
import { loadStatement } from '../src/statements.js';
import { accepted, completed, logger, useBooks } from './support.js';

const books = useBooks();

interface Entry {
  readonly job_id: string;
  readonly reserved_tokens: number;
  readonly overage_tokens: number;
  readonly amount_nano_usd: bigint;
  readonly overage_nano_usd: bigint;
}

const entries = (phase: number): Promise<Entry[]> =>
  books.query(
    `SELECT job_id, reserved_tokens, overage_tokens, amount_nano_usd, overage_nano_usd
     FROM ledger WHERE phase = $1 ORDER BY job_id`,
    [phase],
  );

async function setPrices(): Promise<void> {
  const price = { model: 'embedder', usdPerMillion: '0.02', from: '2026-01-01T00:00:00Z' };
  const prices = (['input', 'output'] as const).map((meter) => ({ ...price, meter }));
  await syncPrices({ url: books.url, prices, logger });
}

describe('overage', () => {
  it('is what a job used beyond its hold, in tokens and in money, kept in the ledger and the roll-up', async () => {
    await setPrices();
    const used = fc.tuple(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 300 }));
    const held = fc.record({
      reservedTokens: fc.option(fc.integer({ min: 0, max: 600 }), { nil: undefined }),
      reservedNanoUsd: fc.option(fc.integer({ min: 0, max: 12_000_000 }), { nil: undefined }),
    });
    const sums = { reserved: 0n, tokens: 0n, money: 0n };
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(used, held), { minLength: 1, maxLength: 20 }), async (jobs) => {
        const facts = jobs.map(([[inputTokens, outputTokens], { reservedTokens, reservedNanoUsd }]) => ({
          jobId: newJobId(),
          usage: { inputTokens, outputTokens, cachedTokens: 0 },
          ...(reservedTokens !== undefined && { reservedTokens }),
          ...(reservedNanoUsd !== undefined && { reservedNanoUsd }),
        }));
        const { newlyCompleted } = await books.store.recordFacts(facts.map(completed));
        const rows = new Map((await entries(2)).map((row) => [row.job_id, row]));
        for (const { jobId, usage, reservedTokens, reservedNanoUsd } of facts) {
          const tokens = usage.inputTokens + usage.outputTokens;
          const amount = BigInt(tokens) * 20n;
          const over = amount - BigInt(reservedNanoUsd ?? amount);
          const expected = {
            job_id: jobId,
            reserved_tokens: reservedTokens ?? 0,
            overage_tokens: Math.max(0, tokens - (reservedTokens ?? tokens)),
            amount_nano_usd: amount,
            overage_nano_usd: over > 0n ? over : 0n,
          };
          expect(rows.get(jobId)).toEqual(expected);
          expect(newlyCompleted.get(jobId)).toBe(amount);
          sums.reserved += BigInt(expected.reserved_tokens);
          sums.tokens += BigInt(expected.overage_tokens);
          sums.money += expected.overage_nano_usd;
        }
      }),
      { numRuns: 40 },
    );
    const rollUp = await books.query(
      `SELECT sum(reserved_tokens)::bigint AS reserved, sum(overage_tokens)::bigint AS tokens,
              sum(overage_nano_usd)::bigint AS money FROM usage_15m`,
    );
    expect(rollUp).toEqual([sums]);
  });

  it('is not booked twice when the end of a job is recorded again', async () => {
    const fact = completed({ jobId: newJobId(), reservedTokens: 100 });
    await books.store.recordFacts([fact]);
    expect((await books.store.recordFacts([fact, fact])).newlyCompleted.size).toBe(0);
    expect(await books.query('SELECT overage_tokens FROM usage_15m')).toEqual([{ overage_tokens: 20n }]);
  });

  it('is none of a job whose end does not say what was held, even if the accepted fact does', async () => {
    const jobId = newJobId();
    await books.store.recordFacts([accepted({ jobId, reservedTokens: 1 }), completed({ jobId })]);
    expect(await entries(1)).toMatchObject([{ reserved_tokens: 1, overage_tokens: 0 }]);
    expect(await entries(2)).toMatchObject([{ reserved_tokens: 0, overage_tokens: 0 }]);
  });

  it('and the amount are known of jobs that ended before', async () => {
    await setPrices();
    const jobId = newJobId();
    await books.store.recordFacts([completed({ jobId })]);
    const terminal = await books.store.terminalFacts([jobId]);
    expect(terminal.get(jobId)).toMatchObject({ state: 'succeeded', amountNanoUsd: 2_400n });
  });
});

describe('a job that runs a dead one again', () => {
  it('names it, and is named by it: the newest of several', async () => {
    const [dead, first, second] = [newJobId(), newJobId(), newJobId()];
    const replayOf = (jobId: string, epoch: number): Fact => accepted({ jobId, replay: { of: dead, epoch } });
    await books.store.recordFacts([accepted({ jobId: dead }), completed({ jobId: dead, state: 'failed' })]);
    expect(await books.store.findJob('acme', dead)).toMatchObject({ replay: undefined, replayedAs: undefined });
    await books.store.recordFacts([replayOf(first, 1), replayOf(second, 2)]);
    expect(await books.store.findJob('acme', dead)).toMatchObject({ state: 'failed', replayedAs: second });
    expect(await books.store.findJob('acme', second)).toMatchObject({
      state: 'queued',
      replay: { of: dead, epoch: 2 },
      replayedAs: undefined,
    });
  });

  it('is not shown to another tenant', async () => {
    const dead = newJobId();
    const foreign = accepted({ jobId: newJobId(), tenantId: 'other', replay: { of: dead, epoch: 1 } });
    await books.store.recordFacts([accepted({ jobId: dead }), foreign]);
    expect((await books.store.findJob('acme', dead))?.replayedAs).toBeUndefined();
  });
});

describe('findJobByKey', () => {
  const key = { tenantId: 'acme', keyHash: 'a"b\\,{}', sinceMs: 0 };
  const keyed = (jobId: string, fingerprint: string, tenantId = 'acme'): Fact =>
    accepted({ jobId, tenantId, idempotency: { keyHash: key.keyHash, fingerprint } });

  it('finds the newest job of the tenant under a key', async () => {
    expect(await books.store.findJobByKey(key)).toBeUndefined();
    const [older, newer, foreign] = [newJobId(), newJobId(), newJobId()];
    await books.store.recordFacts([keyed(newer, 'new'), keyed(older, 'old'), keyed(foreign, 'x', 'other')]);
    await books.store.recordFacts([accepted({ jobId: newJobId() })]);
    expect(await books.store.findJobByKey(key)).toEqual({ jobId: newer, fingerprint: 'new' });
    expect(await books.store.findJobByKey({ ...key, tenantId: 'other' })).toEqual({ jobId: foreign, fingerprint: 'x' });
    expect(await books.store.findJobByKey({ ...key, keyHash: 'other' })).toBeUndefined();
  });

  it('reads an index that holds nothing but keys', async () => {
    await books.query('SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off');
    await books.query(`PREPARE by_key (text, text, bigint) AS ${loadStatement('find-job-by-key').text}`);
    const plan = await books.query<{ 'QUERY PLAN': string }>(
      `EXPLAIN (COSTS OFF) EXECUTE by_key ('acme', 'k', ${Date.now()})`,
    );
    const scans = plan.map((line) => line['QUERY PLAN']).filter((line) => line.includes('Scan'));
    expect(scans.length).toBeGreaterThan(0);
    expect(scans.filter((line) => !line.includes('idempotency_key_hash'))).toEqual([]);
  });

  it('does not find jobs from before', async () => {
    const timeMs = Date.now();
    await books.store.recordFacts([keyed(newJobId(), 'f')]);
    expect(await books.store.findJobByKey({ ...key, sinceMs: timeMs - 1_000 })).toBeDefined();
    expect(await books.store.findJobByKey({ ...key, sinceMs: timeMs + 60_000 })).toBeUndefined();
  });
});
