import { describe, expect, it } from '@jest/globals';
import { newJobId } from '@sluice/contracts';
import type { Measure, TimeWindow } from '../src/index.js';
import { measureArrays } from '../src/quota-facts.js';
import { loadStatement } from '../src/statements.js';
import { accepted, completed, jobIdAt, KEY_ID, useBooks } from './support.js';

const books = useBooks();
const MINUTE = 60_000;
const BUCKET = 15 * MINUTE;

/** The beginning of a bucket that ended at least half an hour ago. */
const pastBucket = (): number => Math.floor(Date.now() / BUCKET) * BUCKET - 4 * BUCKET;

const tokensIn = (window: TimeWindow): Measure => ({
  scope: 'tenant',
  unit: 'tokens',
  window: { kind: 'period', ...window },
});

/** Tokens of the tenant's settled jobs in each window, and its open jobs. */
async function read(tenantId: string, windows: readonly TimeWindow[]) {
  const { amounts, openHolds } = await books.store.quotaFacts({ tenantId, measures: windows.map(tokensIn) });
  const posted = windows.map((_, index) => amounts.find(({ measure }) => measure === index)?.used ?? 0);
  return { posted, openHolds };
}

describe('quotaFacts', () => {
  it('lists what a tenant has open', async () => {
    const now = Date.now();
    const [open, ended, other] = [jobIdAt(now), jobIdAt(now), jobIdAt(now)];
    await books.store.recordFacts([
      accepted({ jobId: open, expiresAtMs: now + MINUTE, reservedNanoUsd: 9_007_199_254_740 }),
      accepted({ jobId: ended }),
      completed({ jobId: ended }),
      accepted({ jobId: other, tenantId: 'other' }),
    ]);
    expect(await books.store.quotaFacts({ tenantId: 'acme', measures: [] })).toEqual({
      amounts: [],
      openHolds: [
        {
          jobId: open,
          apiKeyId: KEY_ID,
          model: 'embedder',
          reservedTokens: 150,
          reservedNanoUsd: 9_007_199_254_740,
          expiresAtMs: now + MINUTE,
          acceptedAtMs: now,
        },
      ],
    });
    const { openHolds } = await books.store.quotaFacts({ tenantId: 'other', measures: [] });
    expect(openHolds.map(({ jobId }) => jobId)).toEqual([other]);
    const measures = [tokensIn({ fromMs: 0, toMs: now })];
    expect(await books.store.quotaFacts({ tenantId: 'nobody', measures })).toEqual({ amounts: [], openHolds: [] });
  });

  it('lists a job whose deadline lies behind a mark that the sweep set by a clock that was ahead', async () => {
    await books.query("UPDATE hold_sweep SET swept_until = now() + interval '20 minutes'");
    const jobId = jobIdAt(Date.now());
    await books.store.recordFacts([accepted({ jobId, expiresAtMs: Date.now() + 10 * MINUTE })]);
    const { openHolds } = await books.store.quotaFacts({ tenantId: 'acme', measures: [] });
    expect(openHolds.map((hold) => hold.jobId)).toEqual([jobId]);
  });

  it('lists open jobs oldest first, with times to the millisecond', async () => {
    const now = Date.now();
    const jobs = [3, 1, 2].map((ago) => ({ jobId: jobIdAt(now - ago), expiresAtMs: now + MINUTE + ago }));
    await books.store.recordFacts(jobs.map(accepted));
    const { openHolds } = await read('acme', []);
    expect(openHolds.map(({ acceptedAtMs, expiresAtMs }) => [acceptedAtMs - now, expiresAtMs - now - MINUTE])).toEqual([
      [-3, 3],
      [-2, 2],
      [-1, 1],
    ]);
  });

  it('counts ended jobs by when they were accepted, to the millisecond, in every window of a call', async () => {
    const bucket = pastBucket();
    const offsets = [0, 1, 7 * MINUTE, BUCKET - 1, BUCKET, 31 * MINUTE, 45 * MINUTE];
    const tokensAt = (index: number): number => 2 * 10 ** index;
    await books.store.recordFacts(
      offsets.flatMap((offset, index) => {
        const jobId = jobIdAt(bucket + offset);
        const usage = { inputTokens: 10 ** index, outputTokens: 10 ** index, cachedTokens: 0 };
        const other = { jobId: jobIdAt(bucket + offset), tenantId: 'other', usage };
        return [accepted({ jobId }), completed({ jobId, usage }), accepted(other), completed(other)];
      }),
    );
    const edges = [-1, 0, 1, 2, 7 * MINUTE, 14 * MINUTE, BUCKET - 1, BUCKET, BUCKET + 1, 31 * MINUTE, 50 * MINUTE];
    const spans = edges.flatMap((from) => edges.map((to) => ({ from, to })));
    const { posted } = await read(
      'acme',
      spans.map(({ from, to }) => ({ fromMs: bucket + from, toMs: bucket + to })),
    );
    const expected = spans.map(({ from, to }) =>
      offsets.reduce((sum, at, index) => (at >= from && at < to ? sum + tokensAt(index) : sum), 0),
    );
    expect(spans.map((span, index) => [span, posted[index]])).toEqual(
      spans.map((span, index) => [span, expected[index]]),
    );
  });

  it('counts a job whose accepted fact has not come', async () => {
    const now = Date.now();
    await books.store.recordFacts([completed({ jobId: jobIdAt(now) })]);
    const windows = [
      { fromMs: now, toMs: now + 1 },
      { fromMs: now - MINUTE, toMs: now },
    ];
    expect(await read('acme', windows)).toEqual({ posted: [120, 0], openHolds: [] });
  });

  it('sees each job either open or ended while another store records how jobs end', async () => {
    const now = Date.now();
    const jobs = Array.from({ length: 400 }, (_, index) => ({
      jobId: jobIdAt(now - index),
      reservedTokens: index + 1,
      // Together what was reserved.
      usage: { inputTokens: index, outputTokens: 1, cachedTokens: 0 },
    }));
    const total = jobs.reduce((sum, { reservedTokens }) => sum + reservedTokens, 0);
    await books.store.recordFacts(jobs.map(({ jobId, reservedTokens }) => accepted({ jobId, reservedTokens })));

    // Two connections of the other store, so that jobs also end while one of them commits.
    const settler = await books.another();
    let isSettling = true;
    async function settle(part: number): Promise<void> {
      for (const [index, { jobId, usage }] of jobs.entries()) {
        if (index % 2 === part) await settler.recordFacts([completed({ jobId, usage })]);
      }
    }
    const settled = Promise.all([settle(0), settle(1)]).finally(() => (isSettling = false));

    // The roll-up and the ledger's rows, each of all jobs.
    const windows = [
      { fromMs: pastBucket(), toMs: pastBucket() + 8 * BUCKET },
      { fromMs: now - jobs.length, toMs: now + 1 },
    ];
    // And a bucket that practically never refills: it lacks 1 for each job, open or ended.
    const slow: Measure = { scope: 'tenant', unit: 'requests', window: { kind: 'rate', max: 1, windowMs: 1e12 } };
    const measures = [...windows.map(tokensIn), slow];
    const sums = new Set<number>();
    const requests = new Set<number>();
    const holds = new Set<number>();
    async function look(): Promise<void> {
      const { amounts, openHolds } = await books.store.quotaFacts({ tenantId: 'acme', measures });
      const [whole, edge, rate] = measures.map(
        (_, index) => amounts.find(({ measure }) => measure === index)?.used ?? 0,
      );
      const held = openHolds.reduce((sum, { reservedTokens }) => sum + reservedTokens, 0);
      sums.add(held + (whole ?? 0)).add(held + (edge ?? 0));
      requests.add(Math.ceil(rate ?? 0));
      holds.add(held);
    }
    while (isSettling) await look();
    await settled;
    await look();
    expect(sums).toEqual(new Set([total]));
    expect(requests).toEqual(new Set([jobs.length]));
    // It did look in between, and at the end everything has ended.
    expect(holds.size).toBeGreaterThan(2);
    expect(holds.has(0)).toBe(true);
  });

  it('reads the ledger only for rates and where a window cuts a bucket, if the tenant was billed then', async () => {
    const bucket = pastBucket();
    const jobs = [jobIdAt(bucket + MINUTE), jobIdAt(Date.now())];
    await books.store.recordFacts(jobs.flatMap((jobId) => [accepted({ jobId }), completed({ jobId })]));
    await books.query('SET plan_cache_mode = force_generic_plan');
    const { text } = loadStatement('quota-facts');
    const types = 'text, bigint[], bigint[], bigint[], bigint[], text[], text[], int[], bigint[], bigint[]';
    await books.query(`PREPARE quota_facts (${types}) AS ${text}`);
    async function ledgerScans(tenantId: string, window: Measure['window']): Promise<string[]> {
      const measures = (['tenant', 'apiKey', 'model'] as const).map((scope): Measure => ({
        scope,
        unit: 'tokens',
        window,
      }));
      const values = measureArrays(measures).map((list) => `'{${list.map((value) => value ?? 'NULL').join()}}'`);
      const plan = await books.query<{ 'QUERY PLAN': string }>(
        `EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE quota_facts ('${tenantId}', ${values.join(', ')}, NULL)`,
      );
      // The look-up of the terminal entry of each open job is called l and the rest ledger.
      const isScan = /Scan .*on (ledger_\w+) ledger(_\d+)? \(actual/;
      return plan.flatMap((line) => isScan.exec(line['QUERY PLAN'])?.[1] ?? []);
    }
    const minute = { kind: 'period', fromMs: bucket + MINUTE, toMs: bucket + 2 * MINUTE } as const;
    const month = { kind: 'period', fromMs: bucket, toMs: bucket + 96 * BUCKET } as const;
    const rate = { kind: 'rate', max: 100, windowMs: MINUTE } as const;
    expect(await ledgerScans('acme', month)).toEqual([]);
    expect(await ledgerScans('acme', minute)).toHaveLength(1);
    expect(await ledgerScans('other', minute)).toEqual([]);
    expect(await ledgerScans('acme', rate)).toContain(
      `ledger_${new Date().toISOString().slice(0, 7).replace('-', '_')}`,
    );
    expect(await ledgerScans('other', rate)).toEqual([]);
  });

  it('reads the entries of one tenant, however many others have some in the same minutes', async () => {
    const jobId = jobIdAt(Date.now());
    await books.store.recordFacts([accepted({ jobId }), completed({ jobId })]);
    await books.query(
      `INSERT INTO ledger (job_id, job_at, phase, tenant_id, api_key_id, model, state, input_tokens, output_tokens)
       SELECT id, uuid7_time(id), 2, 'other ' || n % 50, $1, 'm', 'succeeded', 1, 1
       FROM generate_series(1, 5000) AS n
       CROSS JOIN LATERAL (SELECT $2 || '-7000-8000-' || lpad(to_hex(n), 12, '0')) AS t (text)
       CROSS JOIN LATERAL (SELECT text::uuid) AS i (id)`,
      [KEY_ID, jobId.slice(0, 13)],
    );
    await books.query('ANALYZE ledger');
    await books.query('SET plan_cache_mode = force_generic_plan');
    const types = 'text, bigint[], bigint[], bigint[], bigint[], text[], text[], int[], bigint[], bigint[]';
    await books.query(`PREPARE quota_facts (${types}) AS ${loadStatement('quota-facts').text}`);
    const window = { kind: 'rate', max: 100, windowMs: MINUTE } as const;
    const values = measureArrays([{ scope: 'tenant', unit: 'tokens', window }]);
    const literals = values.map((list) => `'{${list.map((value) => value ?? 'NULL').join()}}'`).join();
    const plan = await books.query<{ 'QUERY PLAN': string }>(
      `EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE quota_facts ('acme', ${literals}, NULL)`,
    );
    const text = plan.map((line) => line['QUERY PLAN']).join('\n');
    expect(text).toContain('tenant_id_job_at_idx');
    expect(text).not.toMatch(/Rows Removed by .*: \d{2}/);
  });

  it('is in the books at once: a job that has just ended is posted, not held', async () => {
    const jobId = newJobId();
    const windows = [{ fromMs: Date.now() - MINUTE, toMs: Date.now() + MINUTE }];
    await books.store.recordFacts([accepted({ jobId })]);
    expect(await read('acme', windows)).toMatchObject({ posted: [0], openHolds: [{ jobId }] });
    await books.store.recordFacts([completed({ jobId })]);
    expect(await read('acme', windows)).toEqual({ posted: [120], openHolds: [] });
  });
});
