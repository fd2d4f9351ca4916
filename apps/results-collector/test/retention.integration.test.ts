import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { AcceptedMessage } from '@sluice/contracts';
import { createLogger } from '@sluice/runtime';
import type { Store } from '@sluice/store';
import { exportFile } from '../src/export.js';
import { readFinishedExport } from '../src/finished-export.js';
import { createRetention, type RetentionPolicy } from '../src/retention.js';
import { eachWithBench } from './fixture.js';
import { completedMessage } from './messages.js';
import { eventually, jobIdAt, type Bench } from './workbench.js';

const DAY_MS = 86_400_000;
const KEEP_ALL: RetentionPolicy = {
  ...{ resultsMs: undefined, jobsMs: undefined, ledgerMs: undefined, deadLettersMs: undefined },
};

let bench: Bench;
let directory: string;
eachWithBench((fresh) => (bench = fresh));
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-exports-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** Ended jobs of a month some months ago, whose partitions exist; returns their ids and `2026_06` of the month. */
async function monthOfJobs(monthsAgo: number, count: number, ended = true) {
  const now = new Date();
  const start = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - monthsAgo, 1);
  for (const table of ['jobs', 'ledger', 'job_results']) {
    await bench.query(`CALL ensure_partition($1, to_timestamp($2::float8 / 1000))`, [table, start]);
  }
  const jobs = Array.from({ length: count }, (_, index): AcceptedMessage =>
    bench.job({ jobId: jobIdAt(start + index * 1_000), expiresAtMs: start + DAY_MS }),
  );
  await bench.store.recordFacts(
    jobs.flatMap((job) => {
      const { input: _input, ...message } = job;
      const completed = { type: 'completed', message: completedMessage(job) } as const;
      return [{ type: 'accepted', message } as const, ...(ended ? [completed] : [])];
    }),
  );
  const month = new Date(start).toISOString().slice(0, 7).replace('-', '_');
  return { ids: jobs.map(({ jobId }) => jobId), month };
}

function retain(policy: Partial<RetentionPolicy>, exportDirectory: string | undefined) {
  const warnings: string[] = [];
  const stream = new PassThrough().on('data', (line: Buffer) => warnings.push(line.toString()));
  const dropped: string[] = [];
  const exported: string[] = [];
  const store: Store = {
    ...bench.store,
    exportPartition: (name, writable) => {
      exported.push(name);
      return bench.store.exportPartition(name, writable);
    },
  };
  const retention = createRetention({
    ...{ store, exportDirectory, nowMs: async () => Date.now() },
    logger: createLogger({ app: 'test', level: 'warn', stream }),
    policy: { ...KEEP_ALL, ...policy },
    onDropped: (table, rows) => void (rows > 0 && dropped.push(`${table} ${rows}`)),
  });
  return { dropped, exported, warnings, run: () => retention.run(new AbortController().signal) };
}

async function partitions(month: string): Promise<readonly string[]> {
  const tables = ['jobs', 'ledger', 'job_results'] as const;
  const all = (await Promise.all(tables.map((table) => bench.store.listPartitions(table)))).flat();
  return all.map(({ name }) => name).filter((name) => name.endsWith(month));
}

describe('retention', () => {
  it('exports a month whole and drops it, jobs before their ledger', async () => {
    const { ids, month } = await monthOfJobs(5, 30);
    const { dropped, run } = retain(
      { resultsMs: 60 * DAY_MS, jobsMs: 60 * DAY_MS, ledgerMs: 60 * DAY_MS },
      join(directory, 'made'),
    );
    await run();
    expect(dropped).toEqual(['job_results 30', 'jobs 30', 'ledger 60']);
    expect(await partitions(month)).toEqual([]);
    const files = [`job_results_${month}`, `jobs_${month}`, `ledger_${month}`].flatMap((name) => [
      `${name}.ndjson.gz`,
      `${name}.ndjson.gz.sha256`,
    ]);
    expect((await readdir(join(directory, 'made'))).sort()).toEqual(files.sort());

    const packed = await readFile(join(directory, 'made', `jobs_${month}.ndjson.gz`));
    const sum = await readFile(join(directory, 'made', `jobs_${month}.ndjson.gz.sha256`), 'utf8');
    expect(sum).toBe(`${createHash('sha256').update(packed).digest('hex')}  jobs_${month}.ndjson.gz\n`);
    const lines = gunzipSync(packed).toString().trimEnd().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { job_id: string }).job_id)).toEqual(ids);
    const [note] = await bench.query(`SELECT rows::int, sha256 FROM dropped_partitions WHERE name = $1`, [
      `jobs_${month}`,
    ]);
    expect(note).toEqual({ rows: 30, sha256: createHash('sha256').update(gunzipSync(packed)).digest('hex') });
    expect(await bench.discrepancies()).toEqual([]);
    // There is nothing left to do.
    await run();
    expect(dropped).toHaveLength(3);
  });

  it('keeps what is young enough, this month and the one before', async () => {
    const [old, young, last] = [await monthOfJobs(6, 1), await monthOfJobs(3, 1), await monthOfJobs(1, 1)];
    await retain({ resultsMs: 130 * DAY_MS }, undefined).run();
    expect(await partitions(old.month)).not.toContain(`job_results_${old.month}`);
    expect(await partitions(young.month)).toContain(`job_results_${young.month}`);
    await retain({ resultsMs: DAY_MS }, undefined).run();
    expect(await partitions(young.month)).not.toContain(`job_results_${young.month}`);
    expect(await partitions(last.month)).toContain(`job_results_${last.month}`);
    expect(await readdir(directory)).toEqual([]);
  });

  it('keeps a month with a job that has not ended, and its ledger', async () => {
    const { month } = await monthOfJobs(4, 2, false);
    await retain({ jobsMs: 60 * DAY_MS, ledgerMs: 60 * DAY_MS }, directory).run();
    expect(await partitions(month)).toEqual(expect.arrayContaining([`jobs_${month}`, `ledger_${month}`]));
    await bench.query('DELETE FROM overdue_jobs');
  });

  it('goes on with other months when one is read, and exports it once as long as its rows are the same', async () => {
    const [first, second] = [await monthOfJobs(10, 3), await monthOfJobs(9, 2)];
    const policy = { resultsMs: 230 * DAY_MS };
    // Reads the month itself, not the table that others read.
    await bench.query('BEGIN');
    await bench.query(`SELECT FROM job_results_${first.month}`);
    const { exported, dropped, run } = retain(policy, directory);
    await run().finally(() => bench.query('COMMIT'));
    const names = [first, second].map(({ month }) => `job_results_${month}`);
    expect({ exported, dropped }).toEqual({ exported: names, dropped: ['job_results 2'] });

    // A damaged file is no export, and neither is one without the rows that came later.
    const file = join(directory, `${names[0]}.ndjson.gz`);
    const whole = await readFile(file);
    expect(await readFinishedExport(directory, `${names[0]}.ndjson`)).toMatchObject({ rows: 3 });
    await writeFile(file, whole.subarray(0, -4));
    expect(await readFinishedExport(directory, `${names[0]}.ndjson`)).toBeUndefined();
    await writeFile(file, whole);
    const again = retain(policy, directory);
    await again.run();
    expect(again).toMatchObject({ exported: [], dropped: ['job_results 3'] });
    const [note] = await bench.query('SELECT sha256 FROM dropped_partitions WHERE name = $1', [names[0]]);
    expect(note).toEqual({ sha256: createHash('sha256').update(gunzipSync(whole)).digest('hex') });
  });

  it('exports a month again that has other rows than its export', async () => {
    const { month } = await monthOfJobs(11, 2);
    const name = `job_results_${month}`;
    await exportFile(directory, `${name}.ndjson`, async (writable) => writable.write('{}\n'));
    const { exported, dropped, run } = retain({ resultsMs: 290 * DAY_MS }, directory);
    await run();
    expect({ exported, dropped }).toEqual({ exported: [name], dropped: ['job_results 2'] });
    expect(await readFinishedExport(directory, `${name}.ndjson`)).toMatchObject({ rows: 2 });
  });

  it('may be done by several collectors at once', async () => {
    const { month } = await monthOfJobs(7, 200);
    const both = [1, 2].map(() => retain({ resultsMs: 60 * DAY_MS }, directory));
    await Promise.allSettled(both.map(({ run }) => run()));
    expect(both.flatMap(({ dropped }) => dropped)).toEqual(['job_results 200']);
    const packed = await readFile(join(directory, `job_results_${month}.ndjson.gz`));
    expect(gunzipSync(packed).toString().trimEnd().split('\n')).toHaveLength(200);
    expect((await readdir(directory)).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('deletes dead letters whose time is over, and no others, and tells how many nobody replayed', async () => {
    await bench.query('TRUNCATE dead_letters');
    const letter = { queue: 'dead', reason: 'x', attempts: 1, type: '', jobId: undefined, headers: {} };
    for (const messageId of ['old', 'new']) {
      await bench.store.recordDeadLetter({ ...letter, messageId, payload: Buffer.from(messageId), payloadBytes: 3 });
    }
    await bench.query(`UPDATE dead_letters SET recorded_at = now() - interval '40 days' WHERE message_id = 'old'`);
    const { dropped, warnings, run } = retain({ deadLettersMs: 30 * DAY_MS }, undefined);
    await run();
    expect(dropped).toEqual(['dead_letters 1']);
    expect(warnings).toEqual([expect.stringContaining('"open":1')]);
    expect(await bench.query('SELECT message_id FROM dead_letters')).toEqual([{ message_id: 'new' }]);
  });
});

describe('a collector', () => {
  it('clears up by itself', async () => {
    const { month } = await monthOfJobs(8, 3);
    const settings = {
      SLUICE_RETENTION_RESULTS: '60d',
      SLUICE_EXPORT_DIR: directory,
      SLUICE_MAINTENANCE_INTERVAL: '50ms',
    };
    await Promise.all([1, 2].map(() => bench.collector(settings).lifecycle.start()));
    const left = await eventually(
      () => partitions(month),
      (names) => !names.includes(`job_results_${month}`),
    );
    expect(left).not.toContain(`job_results_${month}`);
    expect(await readdir(directory)).toContain(`job_results_${month}.ndjson.gz`);
  });
});
