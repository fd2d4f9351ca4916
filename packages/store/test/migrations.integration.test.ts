import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createTestDatabase, type TestDatabase, testServices } from '@sluice/local-services';
import { createLogger } from '@sluice/runtime';
import { Client } from 'pg';
import { migrate, MigrationError } from '../src/index.js';
import { logger } from './support.js';

const PACKAGE = new URL('../', import.meta.url);
let databases: TestDatabase[] = [];
let directory: string;

async function database(): Promise<string> {
  const created = await createTestDatabase(testServices().postgresUrl);
  databases.push(created);
  return created.url;
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

async function folderOf(files: Readonly<Record<string, string>>): Promise<URL> {
  await Promise.all(Object.entries(files).map(([name, sql]) => writeFile(join(directory, name), sql)));
  return pathToFileURL(`${directory}/`);
}

/** A file that also makes the procedure which `migrate` ends with. */
const FIRST = 'CREATE TABLE a (n int); CREATE PROCEDURE ensure_partitions() LANGUAGE sql AS $$ SELECT 1 $$;';

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-migrations-'));
});
afterEach(async () => {
  await Promise.all([...databases.map((one) => one.drop()), rm(directory, { recursive: true })]);
  databases = [];
});

describe('migrate', () => {
  it('applies every file once', async () => {
    const url = await database();
    const files = (await readdir(new URL('migrations/', PACKAGE))).sort();
    expect(await migrate({ url, logger })).toEqual({ applied: files });
    expect(await migrate({ url, logger })).toEqual({ applied: [] });
  });

  it('lets several programs migrate one database at once', async () => {
    const url = await database();
    const results = await Promise.all([1, 2, 3].map(() => migrate({ url, logger })));
    expect(results.filter(({ applied }) => applied.length > 0)).toHaveLength(1);
  });

  it('migrates several databases of one server at once', async () => {
    const urls = await Promise.all([1, 2, 3].map(database));
    const results = await Promise.all(urls.map((url) => migrate({ url, logger })));
    expect(results.every(({ applied }) => applied.length > 0)).toBe(true);
  });

  it('refuses a file that was edited after it had been applied and changes nothing', async () => {
    const url = await database();
    await migrate({ url, logger, folder: await folderOf({ '0001_a.sql': FIRST }) });
    const edited = await folderOf({ '0001_a.sql': `${FIRST} -- edited`, '0002_b.sql': 'CREATE TABLE b ()' });
    await expect(migrate({ url, logger, folder: edited })).rejects.toBeInstanceOf(MigrationError);
    expect(await query(url, `SELECT to_regclass('b') AS b`)).toEqual([{ b: null }]);
  });

  it('does not take another line ending for an edit', async () => {
    const url = await database();
    await migrate({ url, logger, folder: await folderOf({ '0001_a.sql': `${FIRST}\n` }) });
    const folder = await folderOf({ '0001_a.sql': `${FIRST}\r\n` });
    expect(await migrate({ url, logger, folder })).toEqual({ applied: [] });
  });

  it('undoes a file that fails and goes on from there the next time', async () => {
    const url = await database();
    const broken = await folderOf({ '0001_a.sql': FIRST, '0002_b.sql': 'CREATE TABLE b (); SELECT 1 / 0' });
    await expect(migrate({ url, logger, folder: broken })).rejects.toMatchObject({ code: '22012' });
    expect(await query(url, `SELECT to_regclass('a') IS NULL AS a, to_regclass('b') AS b`)).toEqual([
      { a: false, b: null },
    ]);
    const mended = await folderOf({ '0002_b.sql': 'CREATE TABLE b ()' });
    expect(await migrate({ url, logger, folder: mended })).toEqual({ applied: ['0002_b.sql'] });
  });

  it('lets readers pass while it waits for a lock, and goes on when it can have it', async () => {
    const url = await database();
    await migrate({ url, logger, folder: await folderOf({ '0001_a.sql': FIRST }) });
    const reader = new Client({ connectionString: url });
    await reader.connect();
    await reader.query('BEGIN; SELECT FROM a');
    let tellWaits: (line: string) => void = () => undefined;
    const waits = new Promise<string>((resolve) => (tellWaits = resolve));
    const stream = { write: (line: string) => line.includes('trying again') && tellWaits(line) };
    const folder = await folderOf({ '0002_b.sql': 'ALTER TABLE a ADD COLUMN b int' });
    const migrating = migrate({ url, folder, logger: createLogger({ app: 'test', level: 'warn', stream }) });
    expect(JSON.parse(await waits)).toMatchObject({ migration: '0002_b.sql', attempt: 1 });
    // It has let go of everything; whoever comes now is served.
    expect(await query(url, 'SELECT count(*)::int AS n FROM a')).toEqual([{ n: 0 }]);
    await reader.query('COMMIT');
    await reader.end();
    expect(await migrating).toEqual({ applied: ['0002_b.sql'] });
  });

  it('says store_unavailable when nobody answers', async () => {
    await expect(migrate({ url: 'postgres://nobody@127.0.0.1:1/none', logger })).rejects.toMatchObject({
      code: 'store_unavailable',
    });
  });
});

describe('the package', () => {
  it('carries every migration and statement when it is packed', async () => {
    const { stdout } = await promisify(execFile)('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: PACKAGE,
    });
    const listing = JSON.parse(stdout) as PackListing[] | Record<string, PackListing>;
    const packed = new Set(Object.values(listing).flatMap(({ files }) => files.map(({ path }) => path)));
    for (const folder of ['migrations', 'sql']) {
      const names = await readdir(new URL(`${folder}/`, PACKAGE));
      expect(names.length).toBeGreaterThan(0);
      for (const name of names) expect(packed).toContain(`${folder}/${name}`);
    }
  });

  it('finds its statements from the built code, and has none that nothing loads', async () => {
    const names = await readdir(new URL('src/', PACKAGE), { recursive: true });
    const sources = names.filter((name) => name.endsWith('.ts') && !name.includes('.test.'));
    const texts = await Promise.all(sources.map((name) => readFile(new URL(`src/${name}`, PACKAGE), 'utf8')));
    const loaded = texts.flatMap((text) => [...text.matchAll(/loadStatement\('([a-z-]+)'\)/g)].map(([, name]) => name));
    const files = (await readdir(new URL('sql/', PACKAGE))).map((name) => name.replace('.sql', ''));
    expect([...new Set(loaded)].sort()).toEqual(files.sort());
    // Importing the built package reads each of them and throws for one that is missing.
    await expect(import(new URL('dist/index.js', PACKAGE).href)).resolves.toHaveProperty('createStore');
  });
});

interface PackListing {
  readonly files: readonly { readonly path: string }[];
}
