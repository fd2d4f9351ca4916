import { describe, expect, it } from '@jest/globals';
import { accepted, completed, jobIdAt, useBooks } from './support.js';

const books = useBooks();
const TABLES = ['jobs', 'ledger', 'job_results'] as const;

async function partitions(parent: string): Promise<string[]> {
  const rows = await books.query<{ name: string }>(
    `SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::regclass ORDER BY 1`,
    [parent],
  );
  return rows.map(({ name }) => name);
}

/** The months from last month to three ahead, by the server's clock, as in names of partitions. */
async function months(): Promise<string[]> {
  const rows = await books.query<{ month: string }>(
    `SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month', 'YYYY_MM') AS month
     FROM generate_series(-1, 3) AS n ORDER BY 1`,
  );
  return rows.map(({ month }) => month);
}

/** A time in the month `ahead` of this one, in Unix milliseconds. */
function monthsAhead(ahead: number): number {
  const now = new Date();
  return Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + ahead, 1);
}

describe('partitions', () => {
  it('exist from last month to three months ahead after migrating', async () => {
    for (const table of TABLES) {
      const expected = [...(await months()).map((month) => `${table}_${month}`), `${table}_default`];
      expect(await partitions(table)).toEqual(expected);
    }
  });

  it('are made again when they are missing, by several programs at once, and while facts are recorded', async () => {
    const before = await partitions('ledger');
    const last = (await months()).at(-1) ?? '';
    for (const table of TABLES) await books.query(`DROP TABLE ${table}_${last}`);
    const other = await books.another();
    const recording = Array.from({ length: 20 }, () => {
      const jobId = jobIdAt(Date.now());
      return books.store.recordFacts([accepted({ jobId }), completed({ jobId })]);
    });
    await Promise.all([books.store.ensurePartitions(), other.ensurePartitions(), ...recording]);
    expect(await partitions('ledger')).toEqual(before);
    expect(await partitions('jobs')).toHaveLength(before.length);
  });

  it('begin and end at midnight UTC, whatever the time zone of the session', async () => {
    await books.query(`SET TIME ZONE 'America/New_York'`);
    const [month] = await months();
    await books.query(`DROP TABLE jobs_${month}`);
    await books.query('CALL ensure_partitions()');
    await books.query(`SET TIME ZONE 'UTC'`);
    const bounds = await books.query<{ bound: string }>(
      `SELECT pg_get_expr(relpartbound, oid) AS bound FROM pg_class WHERE relname ~ '^jobs_2' AND relkind = 'r' ORDER BY relname`,
    );
    for (const { bound } of bounds) {
      expect(bound).toMatch(/^FOR VALUES FROM \('\d{4}-\d\d-01 00:00:00\+00'\) TO \('\d{4}-\d\d-01 00:00:00\+00'\)$/);
    }
  });

  it('take the first and the last millisecond of a month', async () => {
    const edges = [monthsAhead(0), monthsAhead(1) - 1, monthsAhead(1)];
    await books.store.recordFacts(edges.map((timeMs) => accepted({ jobId: jobIdAt(timeMs) })));
    const rows = await books.query<{ name: string }>(
      `SELECT tableoid::regclass::text AS name FROM ledger ORDER BY job_at`,
    );
    const [, current, next] = await months();
    expect(rows.map(({ name }) => name)).toEqual([`ledger_${current}`, `ledger_${current}`, `ledger_${next}`]);
  });

  it('that are missing do not lose facts: the default partition takes them and a view shows them', async () => {
    const jobId = jobIdAt(Date.UTC(2020, 0, 1));
    expect(await books.query('SELECT * FROM v_recon_default_partition')).toEqual([]);
    const facts = [accepted({ jobId }), completed({ jobId })];
    await books.store.recordFacts(facts);
    expect((await books.store.recordFacts(facts)).newlyAccepted.size).toBe(0);
    expect(await books.query('SELECT parent FROM v_recon_default_partition ORDER BY 1')).toEqual(
      ['job_results', 'jobs', 'ledger', 'ledger'].map((parent) => ({ parent })),
    );
    expect(await books.store.findJob('acme', jobId)).toMatchObject({ state: 'succeeded' });
  });

  it('take over rows that went to the default partition before they were made', async () => {
    const last = (await months()).at(-1) ?? '';
    for (const table of TABLES) await books.query(`DROP TABLE ${table}_${last}`);
    const jobId = jobIdAt(monthsAhead(3) + 5);
    const facts = [accepted({ jobId }), completed({ jobId })];
    await books.store.recordFacts(facts);
    expect(await books.query('SELECT * FROM v_recon_default_partition')).toHaveLength(4);
    await books.store.ensurePartitions();
    expect(await books.query('SELECT * FROM v_recon_default_partition')).toEqual([]);
    expect(await books.query(`SELECT phase FROM ledger_${last} ORDER BY phase`)).toEqual([{ phase: 1 }, { phase: 2 }]);
    expect((await books.store.recordFacts(facts)).newlyCompleted.size).toBe(0);
    expect(await books.query(`SELECT job_id FROM jobs_${last}`)).toEqual([{ job_id: jobId }]);
    expect(await books.query(`SELECT job_id FROM job_results_${last}`)).toEqual([{ job_id: jobId }]);
  });

  it('refuse that rows are changed, deleted or emptied out, in months old and new and the default one', async () => {
    for (const table of TABLES) {
      await books.query(`CALL ensure_partition('${table}', '2031-05-01')`);
      const [old] = await partitions(table);
      const refusal = { code: '23001' };
      for (const name of [table, old, `${table}_2031_05`, `${table}_default`]) {
        await expect(books.query(`TRUNCATE ${name}`)).rejects.toMatchObject(refusal);
      }
      const jobs = [Date.now(), Date.UTC(2031, 4, 5), Date.UTC(2040, 4, 5)].map(jobIdAt);
      await books.store.recordFacts(jobs.flatMap((jobId) => [accepted({ jobId }), completed({ jobId })]));
      for (const jobId of jobs) {
        const where = `WHERE job_id = '${jobId}'`;
        await expect(books.query(`DELETE FROM ${table} ${where}`)).rejects.toMatchObject(refusal);
        await expect(books.query(`UPDATE ${table} SET recorded_at = now() ${where}`)).rejects.toMatchObject(refusal);
      }
    }
  });
});
