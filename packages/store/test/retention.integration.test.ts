import { createHash } from 'node:crypto';
import { PassThrough, Writable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { Client } from 'pg';
import { PARTITIONED_TABLES, PartitionError, RecordError } from '../src/index.js';
import { accepted, completed, jobIdAt, useBooks } from './support.js';

const books = useBooks();
const MONTH_MS = Date.UTC(2025, 2, 1);
const NAMES = { jobs: 'jobs_2025_03', ledger: 'ledger_2025_03', job_results: 'job_results_2025_03' } as const;

/** Jobs of March 2025, in partitions of their own. */
async function recordMonth(jobs: number, { open = 0 } = {}): Promise<readonly string[]> {
  for (const table of PARTITIONED_TABLES) await books.query(`CALL ensure_partition('${table}', '2025-03-15Z')`);
  const ids = Array.from({ length: jobs }, (_, index) => jobIdAt(MONTH_MS + index * 3_600_000));
  await books.store.recordFacts(
    ids.flatMap((jobId, index) => [
      accepted({ jobId, expiresAtMs: MONTH_MS + index * 3_600_000 + 1, metadata: { text: 'line\nfeed "and" ü' } }),
      ...(index >= open ? [completed({ jobId })] : []),
    ]),
  );
  return ids;
}

/** What is written, and how often the writer was asked to wait. */
function collect(): { readonly writable: Writable; text(): string } {
  const blocks: Buffer[] = [];
  const writable = new Writable({
    highWaterMark: 1,
    write(block: Buffer, _encoding, done) {
      blocks.push(block);
      setImmediate(done);
    },
  });
  return { writable, text: () => Buffer.concat(blocks).toString() };
}

async function drop(name: string): Promise<void> {
  const { rows, sha256 } = await books.store.exportPartition(name, collect().writable);
  await books.store.dropPartition(name, { expectedRows: rows, sha256 });
}

async function droppedNames(): Promise<readonly string[]> {
  const rows = await books.query<{ name: string }>('SELECT name FROM dropped_partitions ORDER BY dropped_partition_id');
  return rows.map(({ name }) => name);
}

describe('listPartitions', () => {
  it('gives months with their bounds, oldest first, and the default partition last', async () => {
    await recordMonth(1);
    const [first, ...rest] = await books.store.listPartitions('ledger');
    expect(first).toMatchObject({ name: NAMES.ledger, parent: 'ledger', fromMs: MONTH_MS, toMs: Date.UTC(2025, 3, 1) });
    expect(first?.bytes).toBeGreaterThan(0);
    expect(rest.at(-1)).toMatchObject({ name: 'ledger_default', fromMs: undefined, toMs: undefined });
    const starts = rest.slice(0, -1).map(({ fromMs }) => fromMs ?? 0);
    expect(starts).toEqual(starts.toSorted((a, b) => a - b));
  });
});

describe('exportPartition', () => {
  it('writes every row as a line of JSON, with the SHA-256 of the bytes, the same each time', async () => {
    const ids = await recordMonth(25);
    const target = collect();
    const { rows, bytes, sha256 } = await books.store.exportPartition(NAMES.ledger, target.writable);
    const lines = target
      .text()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(rows).toBe(50);
    expect(bytes).toBe(Buffer.byteLength(target.text()));
    expect(sha256).toBe(createHash('sha256').update(target.text()).digest('hex'));
    expect(lines.map(({ job_id, phase }) => [job_id, phase])).toEqual(
      ids.flatMap((id) => [
        [id, 1],
        [id, 2],
      ]),
    );
    expect(lines[0]).toMatchObject({ job_at: '2025-03-01T00:00:00+00:00', tenant_id: 'acme', state: null });
    expect(target.writable.writableEnded).toBe(false);

    await books.query(`ALTER DATABASE ${new URL(books.url).pathname.slice(1)} SET timezone = 'Asia/Tokyo'`);
    const elsewhere = await books.another();
    expect((await elsewhere.exportPartition(NAMES.ledger, collect().writable)).sha256).toBe(sha256);

    const jobs = collect();
    await books.store.exportPartition(NAMES.jobs, jobs.writable);
    expect(JSON.parse(jobs.text().split('\n')[0] ?? '')).toMatchObject({ metadata: { text: 'line\nfeed "and" ü' } });
  });

  it('streams more than a block, and an empty partition', async () => {
    await recordMonth(1);
    await books.query(
      `INSERT INTO job_results (job_id, job_at, finished_at, attempt, output)
       SELECT id, uuid7_time(id), now(), 1, to_jsonb(repeat('x', 100000))
       FROM generate_series(1, 64) AS n,
         LATERAL (SELECT ('01958a00-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid) AS i (id)`,
    );
    const target = collect();
    const { rows, bytes } = await books.store.exportPartition(NAMES.job_results, target.writable);
    expect(rows).toBe(65);
    expect(bytes).toBeGreaterThan(6_400_000);
    expect(target.text().trimEnd().split('\n')).toHaveLength(65);
    await books.query(`CALL ensure_partition('jobs', '2025-04-15Z')`);
    expect(await books.store.exportPartition('jobs_2025_04', collect().writable)).toMatchObject({ rows: 0, bytes: 0 });
  });

  it('refuses anything that is not a partition, whatever its name holds', async () => {
    for (const name of ['tenants', 'ledger', 'no_such', 'jobs_default; DROP TABLE tenants', '']) {
      await expect(books.store.exportPartition(name, collect().writable)).rejects.toThrow(PartitionError);
    }
  });

  it('fails as its target fails, and leaves the store usable', async () => {
    await recordMonth(3);
    const full = new Writable({ write: (_block, _encoding, done) => done(new Error('the disk is full')) });
    await expect(books.store.exportPartition(NAMES.ledger, full)).rejects.toThrow('the disk is full');
    const closed = new PassThrough();
    closed.destroy();
    await expect(books.store.exportPartition(NAMES.ledger, closed)).rejects.toThrow();
    for (let again = 0; again < 5; again++) {
      await expect(books.store.exportPartition(NAMES.ledger, full)).rejects.toThrow();
    }
    expect(await books.store.exportPartition(NAMES.ledger, collect().writable)).toMatchObject({ rows: 6 });
  });
});

describe('dropPartition', () => {
  it('leaves the backlog as it is', async () => {
    await recordMonth(2);
    const early = jobIdAt(MONTH_MS);
    await books.store.recordFacts([completed({ jobId: early }), accepted({ jobId: jobIdAt(Date.now()) })]);
    const open = [{ model: 'embedder', class: 'standard', jobs: 1, inputTokens: 100 }];
    for (const name of [NAMES.job_results, NAMES.jobs, NAMES.ledger]) {
      await drop(name);
      expect(await books.store.backlog()).toEqual(open);
      expect(await books.query('SELECT * FROM v_recon_backlog')).toEqual([]);
    }
    await books.store.expiredOpenHolds(10);
    expect(await books.store.backlog()).toEqual(open);
  });

  it('drops what was exported, notes it, and keeps the roll-up and its reconciliation', async () => {
    const [jobId = ''] = await recordMonth(4);
    const { rows, sha256 } = await books.store.exportPartition(NAMES.job_results, collect().writable);
    await books.store.dropPartition(NAMES.job_results, { expectedRows: rows, sha256 });
    expect(await books.store.findJob('acme', jobId)).toMatchObject({ state: 'succeeded', output: undefined });
    await drop(NAMES.jobs);
    await drop(NAMES.ledger);
    expect(await books.store.findJob('acme', jobId)).toBeUndefined();
    expect(await books.query('SELECT parent, from_at, to_at, rows, sha256 FROM dropped_partitions LIMIT 1')).toEqual([
      { parent: 'job_results', from_at: new Date(MONTH_MS), to_at: new Date(Date.UTC(2025, 3, 1)), rows: 4n, sha256 },
    ]);
    expect(await droppedNames()).toEqual([NAMES.job_results, NAMES.jobs, NAMES.ledger]);
    expect(await books.query('SELECT sum(jobs)::int AS jobs FROM usage_15m')).toEqual([{ jobs: 4 }]);
    expect((await books.store.reconcile()).filter(({ rows: found }) => found > 0)).toEqual([]);
    await expect(books.store.dropPartition(NAMES.ledger, { expectedRows: 8 })).rejects.toThrow('no such partition');
  });

  it('lets no fact of a month whose ledger is gone be recorded, and so billed, again', async () => {
    const [jobId = ''] = await recordMonth(2);
    await drop(NAMES.jobs);
    await drop(NAMES.ledger);
    const recent = jobIdAt(Date.now());
    const recording = books.store.recordFacts([
      accepted({ jobId }),
      completed({ jobId }),
      completed({ jobId: recent }),
    ]);
    await expect(recording).rejects.toBeInstanceOf(RecordError);
    await expect(recording).rejects.toMatchObject({ failures: [{ jobId }, { jobId }] });
    expect(await books.query('SELECT sum(jobs)::int AS jobs FROM usage_15m')).toEqual([{ jobs: 3 }]);
    const elsewhere = jobIdAt(MONTH_MS - 1);
    await books.store.recordFacts([accepted({ jobId: elsewhere }), completed({ jobId: elsewhere })]);
  });

  it('refuses when rows were added after the export', async () => {
    await recordMonth(2);
    const { rows } = await books.store.exportPartition(NAMES.jobs, collect().writable);
    const late = jobIdAt(MONTH_MS + 5);
    await books.store.recordFacts([accepted({ jobId: late }), completed({ jobId: late })]);
    const dropping = books.store.dropPartition(NAMES.jobs, { expectedRows: rows });
    await expect(dropping).rejects.toMatchObject({
      name: 'PartitionError',
      reason: 'row_count',
      message: 'jobs_2025_03 is not dropped: it has 3 rows and 2 were expected',
    });
    expect(await droppedNames()).toEqual([]);
    expect(await books.query('SELECT count(*)::int AS jobs FROM jobs')).toEqual([{ jobs: 3 }]);
  });

  it('refuses a month with jobs that have not ended, in each of the tables', async () => {
    const [open = ''] = await recordMonth(3, { open: 1 });
    await books.query('SET plan_cache_mode = force_generic_plan');
    for (const name of [NAMES.job_results, NAMES.jobs]) await expect(drop(name)).rejects.toThrow('have not ended');
    await books.store.recordFacts([completed({ jobId: open, state: 'expired' })]);
    await drop(NAMES.jobs);
  });

  it('refuses the ledger of a month whose jobs are still there', async () => {
    await recordMonth(1);
    await expect(drop(NAMES.ledger)).rejects.toThrow('need their ledger');
    await drop(NAMES.jobs);
    await drop(NAMES.ledger);
  });

  it('refuses the default partition, recent and future months, and anything else', async () => {
    await expect(drop('jobs_default')).rejects.toThrow('default partition');
    const months = (await books.store.listPartitions('jobs')).filter(({ fromMs }) => fromMs !== undefined);
    expect(months).toHaveLength(5);
    for (const { name } of months) await expect(drop(name)).rejects.toThrow('are kept');
    for (const name of ['tenants', 'jobs', 'x; DROP TABLE tenants']) {
      await expect(books.store.dropPartition(name, { expectedRows: 0 })).rejects.toThrow('no such partition');
    }
  });

  it('lets one of several at once drop it, while facts are recorded', async () => {
    await recordMonth(2);
    const other = await books.another();
    const recording = Array.from({ length: 20 }, () => {
      const jobId = jobIdAt(Date.now());
      return books.store.recordFacts([accepted({ jobId }), completed({ jobId })]);
    });
    const dropping = [books.store, other].map((store) => store.dropPartition(NAMES.jobs, { expectedRows: 2 }));
    const outcomes = await Promise.allSettled(dropping);
    await Promise.all(recording);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(outcomes.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { name: 'PartitionError' } });
    expect(await droppedNames()).toEqual([NAMES.jobs]);
  });

  it('drops whatever rows there are when no number is expected, and says how many', async () => {
    await recordMonth(3);
    expect(await books.store.dropPartition(NAMES.job_results, {})).toBe(3);
    expect(await books.query('SELECT rows, sha256 FROM dropped_partitions')).toEqual([{ rows: 3n, sha256: null }]);
  });

  it('waits for a reader that goes, and is busy when one stays; others can read meanwhile', async () => {
    const [jobId = ''] = await recordMonth(1);
    const reader = new Client({ connectionString: books.url });
    await reader.connect();
    const readAll = async () => {
      await reader.query('BEGIN');
      await reader.query('SELECT FROM job_results');
    };
    const lockIsWanted = async () => {
      for (;;) {
        const waiting = await books.query(
          `SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' AND relation = 'job_results'::regclass`,
        );
        if (waiting.length > 0) return;
      }
    };
    try {
      await readAll();
      let isOver = false;
      const dropping = books.store.dropPartition(NAMES.job_results, {}).finally(() => (isOver = true));
      dropping.catch(() => undefined);
      await lockIsWanted();
      // Who comes after the drop waits until it gives up, not until the reader goes.
      expect(await books.store.findJob('acme', jobId)).toMatchObject({ output: undefined, attempt: 1 });
      expect(isOver).toBe(false);
      await expect(dropping).rejects.toMatchObject({ name: 'PartitionError', reason: 'busy' });
      expect(await droppedNames()).toEqual([]);

      const again = books.store.dropPartition(NAMES.job_results, {});
      await lockIsWanted();
      await reader.query('COMMIT');
      expect(await again).toBe(1);
    } finally {
      await reader.end();
    }
  });
});
