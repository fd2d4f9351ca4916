import { beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { BEGIN_MS, BUCKET, factsOf, job, MINUTE, turn } from './random-books.js';
import { useTurnedBooks } from './turned-books.js';

const books = useTurnedBooks();

const sameUsage = '(t.tenant_id, t.bucket, t.model, t.api_key_id) = (c.tenant_id, c.bucket, c.model, c.api_key_id)';

/** Damage that the constraints and triggers of the tables keep out; `$1` picks a row. */
const DAMAGES = {
  reserveLost: nth('ledger', 'DELETE FROM ledger t USING chosen c WHERE t.job_id = c.job_id AND t.phase = 1'),
  endLost: nth('ledger', 'DELETE FROM ledger t USING chosen c WHERE t.job_id = c.job_id AND t.phase = 2'),
  jobLost: nth('jobs', 'DELETE FROM jobs t USING chosen c WHERE t.job_id = c.job_id'),
  entryTwice: nth(
    'ledger',
    `INSERT INTO ledger (job_id, job_at, phase, tenant_id, api_key_id, model, state, input_tokens, output_tokens, recorded_at)
     SELECT job_id, job_at - interval '1 month', phase, tenant_id, api_key_id, model, state, 0, 0, recorded_at FROM chosen
     ON CONFLICT DO NOTHING`,
  ),
  endOnly: nth(
    'jobs',
    `INSERT INTO ledger (job_id, job_at, phase, tenant_id, api_key_id, model, state, input_tokens, output_tokens)
     SELECT overlay(job_id::text placing 'ffff' from 20)::uuid, job_at, 2, tenant_id, api_key_id, model, 'failed', 1, 1 FROM chosen
     ON CONFLICT DO NOTHING`,
  ),
  rollupLost: nth('usage_15m', `DELETE FROM usage_15m t USING chosen c WHERE ${sameUsage}`),
  rollupWrong: nth(
    'usage_15m',
    `UPDATE usage_15m t SET cached_tokens = t.cached_tokens + 1 FROM chosen c WHERE ${sameUsage}`,
  ),
  rollupAstray: nth(
    'usage_15m',
    `UPDATE usage_15m t SET bucket = t.bucket - interval '1 year' FROM chosen c WHERE ${sameUsage}`,
  ),
  overdueLost: nth('overdue_jobs', 'DELETE FROM overdue_jobs t USING chosen c WHERE t.job_id = c.job_id'),
  markAhead: `UPDATE hold_sweep SET swept_until = now() + $1::int * interval '1 minute'`,
} as const;

function nth(table: string, statement: string): string {
  return `WITH chosen AS (SELECT * FROM ${table} ORDER BY 1, 2, 3 LIMIT 1
    OFFSET $1::int % greatest(1, (SELECT count(*) FROM ${table}))) ${statement}`;
}

interface Entry {
  readonly job_id: string;
  readonly job_ms: number;
  readonly phase: number;
  readonly recorded_ms: number;
  readonly sums: string;
}

/** Every row that the views look at. */
async function readAll() {
  const ms = (column: string, name: string): string => `(extract(epoch FROM ${column}) * 1000)::float8 AS ${name}`;
  const [ledger, jobs, overdue, usage, [sweep]] = [
    await books.query<Entry & Record<string, unknown>>(
      `SELECT *, ${ms('job_at', 'job_ms')}, ${ms('recorded_at', 'recorded_ms')} FROM ledger`,
    ),
    await books.query<{ job_id: string; job_ms: number; expires_ms: number }>(
      `SELECT job_id, ${ms('job_at', 'job_ms')}, ${ms('expires_at', 'expires_ms')} FROM jobs`,
    ),
    await books.query<{ job_id: string }>('SELECT job_id FROM overdue_jobs'),
    await books.query<Record<string, unknown>>(`SELECT *, ${ms('bucket', 'bucket_ms')} FROM usage_15m`),
    await books.query<{ mark: number }>(`SELECT ${ms('swept_until', 'mark')} FROM hold_sweep`),
  ];
  return { ledger, jobs, overdue: new Set(overdue.map(({ job_id }) => job_id)), usage, mark: sweep?.mark ?? NaN };
}

const SUMS = [
  ...['input_tokens', 'output_tokens', 'cached_tokens', 'amount_nano_usd', 'reserved_tokens'],
  ...['overage_tokens', 'overage_nano_usd'],
];

/** Counts what each view should show, row by row. */
function verdictsOf({ ledger, jobs, overdue, usage, mark }: Awaited<ReturnType<typeof readAll>>, nowMs: number) {
  const has = (jobId: string, phase: number, jobMs: number): boolean =>
    ledger.some((entry) => entry.job_id === jobId && entry.phase === phase && entry.job_ms === jobMs);
  const isLate = (atMs: number, graces: number): boolean => atMs < nowMs - graces * 2 * MINUTE;
  const open = jobs.filter((one) => isLate(one.expires_ms, 2) && !has(one.job_id, 2, one.job_ms));
  const groups = new Map<string, number>();
  for (const { job_id, phase } of ledger) groups.set(`${job_id} ${phase}`, (groups.get(`${job_id} ${phase}`) ?? 0) + 1);
  return [
    { view: 'v_recon_double_terminal', rows: [...groups.values()].filter((count) => count > 1).length },
    {
      view: 'v_recon_missing_job',
      rows: ledger.filter((l) => l.phase === 1 && !jobs.some((j) => j.job_id === l.job_id && j.job_ms === l.job_ms))
        .length,
    },
    { view: 'v_recon_missing_terminal', rows: open.length },
    {
      view: 'v_recon_open_hold_past_expiry',
      rows: open.filter((one) => one.expires_ms >= mark || overdue.has(one.job_id)).length,
    },
    { view: 'v_recon_rollup_drift', rows: drifts(ledger, usage) },
    {
      view: 'v_recon_terminal_without_reserve',
      rows: ledger.filter((l) => l.phase === 2 && isLate(l.recorded_ms, 1) && !has(l.job_id, 1, l.job_ms)).length,
    },
  ];
}

/** Rows of the roll-up that are not the sums of their entries, and sums that have no row. */
function drifts(
  ledger: readonly (Entry & Record<string, unknown>)[],
  usage: readonly Record<string, unknown>[],
): number {
  const sums = new Map<string, bigint[]>();
  for (const entry of ledger.filter(({ phase }) => phase === 2)) {
    const bucketMs = Math.floor(entry.job_ms / BUCKET) * BUCKET;
    const key = [entry['tenant_id'], bucketMs, entry['model'], entry['api_key_id']].join(' ');
    const own = [1n, BigInt(entry['state'] !== 'succeeded'), ...SUMS.map((sum) => BigInt(entry[sum] as bigint))];
    sums.set(
      key,
      own.map((value, index) => value + (sums.get(key)?.[index] ?? 0n)),
    );
  }
  let wrong = 0;
  for (const row of usage) {
    const key = [row['tenant_id'], row['bucket_ms'], row['model'], row['api_key_id']].join(' ');
    const kept = ['jobs', 'failed_jobs', ...SUMS].map((sum) => row[sum]);
    if (kept.join() !== sums.get(key)?.join()) wrong += 1;
    sums.delete(key);
  }
  return wrong + sums.size;
}

const damage = fc.record({
  what: fc.constantFrom(...(Object.keys(DAMAGES) as (keyof typeof DAMAGES)[])),
  pick: fc.nat(20),
});

describe('the views of reconciliation', () => {
  beforeAll(async () => {
    await books.query('ALTER TABLE ledger DROP CONSTRAINT ledger_job_at_is_of_job_id');
  });

  it('show what a look at every row shows, whatever is damaged', async () => {
    const found: Record<string, number> = {};
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(job, fc.constantFrom(1, 2, 3)), { minLength: 1, maxLength: 10, size: 'max' }),
        fc.tuple(turn, fc.integer({ min: 0, max: 5 * MINUTE })),
        fc.array(damage, { maxLength: 6, size: 'max' }),
        async (jobs, [sweptMs, laterMs], damages) => {
          await books.empty();
          await books.turn(BEGIN_MS);
          const facts = factsOf(jobs.map(([one]) => one)).flatMap((all, index) => {
            const told = jobs[index]?.[1] ?? 3;
            return all.filter((fact) => (told & (fact.type === 'accepted' ? 1 : 2)) > 0);
          });
          await books.stores[0].recordFacts(facts);
          await books.turn(BEGIN_MS + sweptMs);
          await books.stores[0].expiredOpenHolds(1);
          const nowMs = BEGIN_MS + sweptMs + laterMs;
          await books.turn(nowMs);
          await books.query('SET session_replication_role = replica');
          for (const { what, pick } of damages) await books.query(DAMAGES[what], [pick]);
          await books.query('SET session_replication_role = origin');
          const expected = verdictsOf(await readAll(), nowMs);
          const counts = expected.map(({ view }) => `SELECT '${view}' AS view, count(*)::int AS rows FROM ${view}`);
          expect(await books.query(`${counts.join(' UNION ALL ')} ORDER BY 1`)).toEqual(expected);
          for (const { view, rows } of expected) found[view] = (found[view] ?? 0) + rows;
        },
      ),
      { numRuns: 80, interruptAfterTimeLimit: 50_000 },
    );
    // Each of them had something to find.
    expect(Object.entries(found).filter(([, rows]) => rows < 5)).toEqual([]);
  }, 60_000);
});
