import { copyFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { newJobId } from '@sluice/contracts';
import { createTestDatabase, type TestDatabase, testServices } from '@sluice/local-services';
import { Client } from 'pg';
import { exactTypes } from '../src/database.js';
import { createStore, migrate } from '../src/index.js';
import { accepted, completed, KEY_ID, logger } from './support.js';

const MIGRATIONS = new URL('../migrations/', import.meta.url);
let database: TestDatabase;
let client: Client;
let directory: string;

/** A database as a release made it that knew the migrations before `name`. */
async function migrateUntil(name: string): Promise<void> {
  const older = (await readdir(MIGRATIONS)).filter((file) => file < name);
  for (const file of older) await copyFile(fileURLToPath(new URL(file, MIGRATIONS)), join(directory, file));
  await migrate({ url: database.url, logger, folder: pathToFileURL(`${directory}/`) });
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-upgrade-'));
  database = await createTestDatabase(testServices().postgresUrl);
  client = new Client({ connectionString: database.url, types: exactTypes() });
  await client.connect();
});
afterEach(async () => {
  await client.end();
  await Promise.all([database.drop(), rm(directory, { recursive: true })]);
});

/** A job that ended, in the columns of the first release, in the partition of its month or in the default one. */
async function insertOldJob(jobId: string): Promise<void> {
  await client.query(
    `INSERT INTO jobs (job_id, job_at, tenant_id, api_key_id, model, class, input_tokens, max_output_tokens,
                       reserved_tokens, expires_at)
     VALUES ($1, uuid7_time($1), 'acme', $2, 'm', 'batch', 4, 6, 10, now())`,
    [jobId, KEY_ID],
  );
  await client.query(
    `INSERT INTO ledger (job_id, job_at, phase, tenant_id, api_key_id, model, state, input_tokens, output_tokens)
     VALUES ($1, uuid7_time($1), 2, 'acme', $2, 'm', 'succeeded', 4, 5)`,
    [jobId, KEY_ID],
  );
  await client.query(`INSERT INTO usage_15m VALUES ('acme', usage_bucket(uuid7_time($1)), 'm', $2, 1, 0, 4, 5, 0, 0)`, [
    jobId,
    KEY_ID,
  ]);
}

describe('migrating a database with books of the first release', () => {
  it('keeps them, and records on top of them in every partition', async () => {
    await migrateUntil('0005');
    const [recent, stray] = [newJobId(), '00000000-0001-7000-8000-000000000001'];
    await client.query(`INSERT INTO tenants (tenant_id, plan, time_zone) VALUES ('acme', 'free', 'UTC')`);
    await insertOldJob(recent);
    await insertOldJob(stray);
    await migrate({ url: database.url, logger });

    const store = createStore({
      url: database.url,
      applicationName: 'upgrade',
      poolSize: 1,
      statementTimeoutMs: 20_000,
      logger,
    });
    await store.start();
    const more = [newJobId(), '00000000-0001-7000-8000-000000000002'];
    await store.recordFacts(
      more.flatMap((jobId) => [accepted({ jobId, reservedNanoUsd: 7 }), completed({ jobId, reservedTokens: 100 })]),
    );
    for (const jobId of [recent, stray]) {
      expect(await store.findJob('acme', jobId)).toMatchObject({ state: 'succeeded', reservedNanoUsd: 0 });
    }
    for (const jobId of more) {
      expect(await store.findJob('acme', jobId)).toMatchObject({ state: 'succeeded', reservedNanoUsd: 7 });
    }
    const { rows: sums } = await client.query<Record<string, bigint>>(
      'SELECT sum(overage_tokens)::bigint AS roll_up, (SELECT sum(overage_tokens) FROM ledger) AS ledger FROM usage_15m',
    );
    expect(sums).toEqual([{ roll_up: 40n, ledger: 40n }]);
    await store.stop();
  });

  it('counts the jobs that were open as its backlog', async () => {
    await migrateUntil('0009');
    const [ended, open, overdue] = [newJobId(), newJobId(), newJobId()];
    await insertOldJob(ended);
    await client.query(
      `INSERT INTO jobs (job_id, job_at, tenant_id, api_key_id, model, class, input_tokens, max_output_tokens,
                         reserved_tokens, expires_at)
       SELECT job_id, uuid7_time(job_id), 'acme', $1, 'm', 'batch', 4, 6, 10, now() + expires_in
       FROM (VALUES ($2::uuid, interval '1 hour'), ($3, interval '-1 hour')) AS j (job_id, expires_in)`,
      [KEY_ID, open, overdue],
    );
    await client.query(
      `INSERT INTO overdue_jobs SELECT job_id, job_at, tenant_id, expires_at FROM jobs WHERE job_id = $1`,
      [overdue],
    );
    await client.query(`UPDATE hold_sweep SET swept_until = now() - interval '2 minutes'`);
    await migrate({ url: database.url, logger });
    const backlog = async () => (await client.query<Record<string, unknown>>('SELECT * FROM v_backlog')).rows;
    expect(await backlog()).toEqual([{ model: 'm', class: 'batch', jobs: 2n, input_tokens: 8n }]);
  });

  it('begins the history of each tenant when it was made', async () => {
    await migrateUntil('0005');
    await client.query(`INSERT INTO tenants (tenant_id, plan, time_zone) VALUES ('acme', 'free', 'UTC')`);
    await migrate({ url: database.url, logger });
    const { rows } = await client.query<Record<string, unknown>>(
      `SELECT v.plan, v.overrides, lower(valid) = created_at AS from_the_beginning, upper_inf(valid) AS is_open
       FROM tenant_versions v JOIN tenants USING (tenant_id)`,
    );
    expect(rows).toEqual([{ plan: 'free', overrides: {}, from_the_beginning: true, is_open: true }]);
  });

  it('gives partitions that are made later every column, default and index of their parents', async () => {
    await migrate({ url: database.url, logger });
    for (const parent of ['jobs', 'ledger', 'job_results']) {
      await client.query(`CALL ensure_partition('${parent}', '2031-05-01')`);
      const shape = async (table: string): Promise<unknown[]> => {
        const { rows: columns } = await client.query<Record<string, unknown>>(
          `SELECT attnum, attname, atttypid, attnotnull, pg_get_expr(adbin, adrelid) AS default
           FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
           WHERE attrelid = $1::regclass AND attnum > 0 ORDER BY attnum`,
          [table],
        );
        const { rows: indexes } = await client.query<Record<string, unknown>>(
          `SELECT regexp_replace(pg_get_indexdef(indexrelid), '^.* USING', '') AS index
           FROM pg_index WHERE indrelid = $1::regclass ORDER BY 1`,
          [table],
        );
        return [...columns, ...indexes];
      };
      const made = await shape(`${parent}_2031_05`);
      expect(made).toEqual(await shape(`${parent}_default`));
      expect(made).toEqual(await shape(parent));
    }
  });
});
