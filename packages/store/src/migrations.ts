import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '@sluice/runtime';
import { Client } from 'pg';
import { sqlState, toStoreError } from './postgres-errors.js';
import { loadStatement } from './statements.js';

export interface MigrateOptions {
  /** Connects as the owner of the database. */
  readonly url: string;
  readonly logger: Logger;
  /** Folder with the files, ending in a slash; the package's own when absent. */
  readonly folder?: URL;
}

/** The database and the migration files contradict each other; nothing was changed. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError';
}

interface Migration {
  readonly name: string;
  readonly sql: string;
  /** SHA-256 of the text, hex. */
  readonly checksum: string;
}

interface AppliedRow {
  readonly name: string;
  readonly checksum: string;
}

const LOCK_TIMEOUT_MS = 1_000;
const LOCK_PAUSE_MS = 1_000;
const LOCK_TRIES = 30;
/** lock_not_available; deadlock_detected, which a file is that locks tables in another order than others do. */
const LOCKED = new Set(['55P03', '40P01']);

const FOLDER = new URL('../migrations/', import.meta.url);
const FILE = /^\d{4}_[a-z0-9_]+\.sql$/;

const statements = {
  lock: loadStatement('lock-migrations'),
  setLockTimeout: loadStatement('set-lock-timeout'),
  createTable: loadStatement('create-schema-migrations'),
  list: loadStatement('list-migrations'),
  insert: loadStatement('insert-migration'),
  ensurePartitions: loadStatement('ensure-partitions'),
};

/**
 * Brings a database up to date: runs the files of `migrations/` that it has not seen, in the order of their names, each
 * in its own transaction, then makes the partitions. Programs that migrate at once take turns.
 *
 * A file that has to wait for a lock keeps everybody waiting who comes after it, so it waits for a second, lets them go, and
 * begins again a little later: up to a minute beside a long report or a transaction that nobody ends.
 *
 * Migrations that the database has seen and this program does not know are left alone: a newer program was here.
 *
 * @returns the names of the files that were run now.
 * @throws MigrationError when a file that was applied has been edited, or a new one sorts before an applied one.
 * @throws ServiceError `store_unavailable` when there is no connection; the database's own error when a file
 * fails, or still cannot have its locks.
 */
export async function migrate(options: MigrateOptions): Promise<{ readonly applied: readonly string[] }> {
  const migrations = await readMigrations(options.folder ?? FOLDER);
  const client = new Client({ connectionString: options.url, application_name: 'sluice-migrate' });
  // n.b. a connection that is lost between two queries is reported here only; the next query then rejects.
  client.on('error', (error) => options.logger.warn({ err: error }, 'the connection was lost while migrating'));
  try {
    await client.connect();
    await client.query(statements.lock.text);
    const applied = await applyMissing(client, migrations, options.logger);
    await client.query(statements.ensurePartitions.text);
    return { applied };
  } catch (error) {
    const answered = error instanceof MigrationError || sqlState(error) !== undefined;
    throw answered ? error : toStoreError(error);
  } finally {
    // Closing the session releases the lock.
    await client.end();
  }
}

async function readMigrations(folder: URL): Promise<readonly Migration[]> {
  const names = (await readdir(folder)).filter((name) => FILE.test(name)).sort();
  return Promise.all(
    names.map(async (name) => {
      const sql = (await readFile(new URL(name, folder), 'utf8')).replaceAll('\r\n', '\n');
      return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') };
    }),
  );
}

async function applyMissing(client: Client, migrations: readonly Migration[], logger: Logger): Promise<string[]> {
  await client.query(statements.createTable.text);
  const { rows: applied } = await client.query<AppliedRow>(statements.list.text);
  const missing = missingMigrations(migrations, applied);
  for (const migration of missing) {
    await applyWhenFree(client, migration, logger);
    logger.info({ migration: migration.name }, 'migration applied');
  }
  return missing.map(({ name }) => name);
}

/** Those of `migrations` (in order) that are not in `applied`. @throws MigrationError when the two contradict. */
export function missingMigrations<M extends AppliedRow>(
  migrations: readonly M[],
  applied: readonly AppliedRow[],
): readonly M[] {
  const checksums = new Map(applied.map(({ name, checksum }) => [name, checksum]));
  const edited = migrations.find(({ name, checksum }) => (checksums.get(name) ?? checksum) !== checksum);
  if (edited) throw new MigrationError(`${edited.name} was edited after it had been applied; add a new file instead`);

  const missing = migrations.filter(({ name }) => !checksums.has(name));
  const newestKnown = migrations.findLast(({ name }) => checksums.has(name))?.name ?? '';
  const tooEarly = missing.find(({ name }) => name < newestKnown);
  if (tooEarly) throw new MigrationError(`${tooEarly.name} is new but sorts before ${newestKnown}, which was applied`);
  return missing;
}

async function applyWhenFree(client: Client, migration: Migration, logger: Logger): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await apply(client, migration);
      return;
    } catch (error) {
      if (!LOCKED.has(sqlState(error) ?? '') || attempt === LOCK_TRIES) throw error;
      logger.warn({ migration: migration.name, attempt }, 'others use what this migration changes, trying again');
      await delay(LOCK_PAUSE_MS);
    }
  }
}

async function apply(client: Client, { name, sql, checksum }: Migration): Promise<void> {
  await client.query('BEGIN');
  try {
    await client.query(statements.setLockTimeout.text, [String(LOCK_TIMEOUT_MS)]);
    await client.query(sql);
    await client.query(statements.insert.text, [name, checksum]);
    await client.query('COMMIT');
  } catch (error) {
    // A connection that is gone has rolled back already; the first error is the one to report.
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}
