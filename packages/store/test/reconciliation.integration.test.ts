import { describe, expect, it } from '@jest/globals';
import { accepted, completed, jobIdAt, KEY_ID, useBooks } from './support.js';

const books = useBooks();
const VIEWS = [
  'v_recon_backlog',
  'v_recon_default_partition',
  'v_recon_double_terminal',
  'v_recon_missing_job',
  'v_recon_missing_terminal',
  'v_recon_open_hold_past_expiry',
  'v_recon_over_limit',
  'v_recon_rollup_drift',
  'v_recon_terminal_without_reserve',
  'v_recon_time_zone',
];

/** The views that found something, with the first column of their first row. */
async function findings(): Promise<Record<string, unknown>> {
  const found = (await books.store.reconcile()).filter(({ rows }) => rows > 0);
  return Object.fromEntries(found.map(({ view, first }) => [view, first[0]]));
}

async function recordHealthy(): Promise<void> {
  const jobId = jobIdAt(Date.now());
  const open = jobIdAt(Date.now());
  await books.store.recordFacts([
    accepted({ jobId }),
    completed({ jobId, reservedTokens: 100, reservedNanoUsd: 5 }),
    accepted({ jobId: open }),
  ]);
}

describe('reconcile', () => {
  it('runs every view of the database and finds nothing in healthy books', async () => {
    await recordHealthy();
    const all = await books.store.reconcile();
    expect(all.map(({ view }) => view)).toEqual(VIEWS);
    for (const { rows, first, description } of all) {
      expect({ rows, first }).toEqual({ rows: 0, first: [] });
      expect(description).toMatch(/Zero rows when healthy\.$/);
    }
  });

  it('runs views that are added, counts all rows and gives the first 20', async () => {
    await books.query(`CREATE VIEW "v_recon_Odd ""name""" AS SELECT n, now() AS at FROM generate_series(1, 25) AS n`);
    const odd = (await books.store.reconcile()).find(({ view }) => view.includes('Odd'));
    expect(odd).toMatchObject({ view: 'v_recon_Odd "name"', description: '', rows: 25 });
    expect(odd?.first.map(({ n }) => n)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
  });

  it('is refused for anything but views of reconciliation', async () => {
    await expect(books.query(`SELECT run_reconciliation('tenants', 1)`)).rejects.toMatchObject({ code: '23001' });
  });
});

describe('views of reconciliation', () => {
  it('find an open job past its deadline, also one that the sweep cannot see', async () => {
    const jobId = jobIdAt(Date.now() - 86_400_000);
    await books.store.recordFacts([accepted({ jobId, expiresAtMs: Date.now() - 600_000 })]);
    expect(await findings()).toMatchObject({
      v_recon_missing_terminal: { job_id: jobId },
      v_recon_open_hold_past_expiry: { job_id: jobId, swept: true },
    });
    await books.store.expiredOpenHolds(10);
    await books.query('DELETE FROM overdue_jobs');
    expect(Object.keys(await findings())).toEqual(['v_recon_backlog', 'v_recon_missing_terminal']);
  });

  it('find an open hold in front of the mark of a sweep that does not run', async () => {
    const jobId = jobIdAt(Date.now());
    await books.store.recordFacts([accepted({ jobId })]);
    await books.query('ALTER TABLE jobs DISABLE TRIGGER USER');
    await books.query(`UPDATE jobs SET expires_at = now() - interval '5 minutes'`);
    expect(await findings()).toMatchObject({ v_recon_open_hold_past_expiry: { job_id: jobId, swept: false } });
    await books.query(`UPDATE jobs SET expires_at = now() - interval '3 minutes'`);
    expect(await findings()).toEqual({});
  });

  it('find a second terminal entry in another partition, and two reserves', async () => {
    const jobId = jobIdAt(Date.now());
    await books.store.recordFacts([accepted({ jobId }), completed({ jobId })]);
    await books.query('ALTER TABLE ledger DROP CONSTRAINT ledger_job_at_is_of_job_id');
    const copy = (phase: number) =>
      books.query(
        `INSERT INTO ledger (job_id, job_at, phase, tenant_id, api_key_id, model, state, input_tokens, output_tokens)
         SELECT job_id, job_at - interval '1 month', phase, tenant_id, api_key_id, model, state, 0, 0
         FROM ledger WHERE phase = $1`,
        [phase],
      );
    await copy(2);
    expect(await findings()).toMatchObject({ v_recon_double_terminal: { job_id: jobId, phase: 2, entries: 2 } });
    await copy(1);
    const doubles = await books.query('SELECT phase FROM v_recon_double_terminal ORDER BY phase');
    expect(doubles).toEqual([{ phase: 1 }, { phase: 2 }]);
  });

  it('find a reserve whose job is gone, unless its month was dropped', async () => {
    const jobId = jobIdAt(Date.UTC(2025, 2, 31, 23, 59));
    await books.store.recordFacts([accepted({ jobId }), completed({ jobId })]);
    await books.query('ALTER TABLE jobs_default DISABLE TRIGGER USER');
    await books.query('DELETE FROM jobs_default');
    await books.query('ALTER TABLE jobs_default ENABLE TRIGGER USER');
    const missing = () => books.query('SELECT job_id FROM v_recon_missing_job');
    expect(await missing()).toEqual([{ job_id: jobId }]);
    await books.query(
      `INSERT INTO dropped_partitions (parent, name, from_at, to_at, rows) VALUES
         ('ledger', 'x', '2025-03-01Z', '2025-04-01Z', 1), ('jobs', 'x', '2025-04-01Z', '2025-05-01Z', 1)`,
    );
    expect(await missing()).toHaveLength(1);
    await books.query(`UPDATE dropped_partitions SET from_at = '2025-03-01Z' WHERE parent = 'jobs'`);
    expect(await missing()).toEqual([]);
  });

  it('find a terminal entry without a reserve', async () => {
    const jobId = jobIdAt(Date.now());
    await books.query(
      `INSERT INTO ledger (job_id, job_at, phase, tenant_id, api_key_id, model, state, input_tokens, output_tokens, recorded_at)
       VALUES ($1, uuid7_time($1), 2, 'acme', $2, 'm', 'succeeded', 1, 1, now() - interval '1 hour')`,
      [jobId, KEY_ID],
    );
    expect(await findings()).toMatchObject({
      v_recon_terminal_without_reserve: { job_id: jobId },
      v_recon_rollup_drift: { ledger_jobs: 1, rollup_jobs: null },
    });
  });

  it.each([
    'jobs',
    'failed_jobs',
    'input_tokens',
    'output_tokens',
    'cached_tokens',
    'amount_nano_usd',
    'reserved_tokens',
    'overage_tokens',
    'overage_nano_usd',
  ])('find a roll-up that differs in %s', async (column) => {
    await recordHealthy();
    const [before] = await books.query<{ value: bigint }>(`SELECT ${column} AS value FROM usage_15m`);
    await books.query(`UPDATE usage_15m SET ${column} = ${column} + 1`);
    const { v_recon_rollup_drift: drift, ...others } = await findings();
    expect(others).toEqual({});
    const value = Number(before?.value);
    expect(drift).toMatchObject({ [`ledger_${column}`]: value, [`rollup_${column}`]: value + 1 });
  });

  it('find a roll-up whose entries are gone, unless their month was dropped', async () => {
    await books.store.recordFacts([completed({ jobId: jobIdAt(Date.UTC(2025, 2, 31, 23, 59)) })]);
    for (const table of ['ledger_default', 'job_results_default']) {
      await books.query(`ALTER TABLE ${table} DISABLE TRIGGER USER`);
      await books.query(`DELETE FROM ${table}`);
    }
    expect(await findings()).toMatchObject({ v_recon_rollup_drift: { ledger_jobs: null, rollup_jobs: 1 } });
    const note = `INSERT INTO dropped_partitions (parent, name, from_at, to_at, rows) VALUES ($1, 'x', $2, $3, 1)`;
    await books.query(note, ['jobs', '2025-03-01Z', '2025-04-01Z']);
    await books.query(note, ['ledger', '2025-04-01Z', '2025-05-01Z']);
    expect(Object.keys(await findings())).toEqual(['v_recon_rollup_drift']);
    await books.query(note, ['ledger', '2025-03-01Z', '2025-04-01Z']);
    expect(await findings()).toEqual({});
  });

  it('find rows without a month of their own', async () => {
    await books.store.recordFacts([
      accepted({ jobId: jobIdAt(Date.UTC(2020, 0, 1)), expiresAtMs: Date.now() + 60_000 }),
    ]);
    expect(Object.keys(await findings())).toEqual(['v_recon_default_partition']);
  });
});
