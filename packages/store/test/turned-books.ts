import { afterAll, afterEach, beforeAll } from '@jest/globals';
import { createTestDatabase, type TestDatabase, testServices } from '@sluice/local-services';
import { Client, type QueryResultRow } from 'pg';
import { exactTypes } from '../src/database.js';
import { createStore, migrate, type Store } from '../src/index.js';
import { logger } from './support.js';

/** Stores on a PostgreSQL whose clock is turned by the test. */
export interface TurnedBooks {
  readonly url: string;
  /** Each with connections of its own. */
  readonly stores: readonly [Store, Store, Store];
  /** PostgreSQL's `now()` from here on, Unix milliseconds. */
  turn(nowMs: number): Promise<void>;
  /** Empties all tables that facts, prices, the sweep and people write. */
  empty(): Promise<void>;
  /** Any SQL, as the owner. */
  query<Row extends QueryResultRow>(text: string, values?: readonly unknown[]): Promise<Row[]>;
}

const TABLES = [
  ...[
    'ledger',
    'jobs',
    'job_results',
    'usage_15m',
    'overdue_jobs',
    'backlog',
    'backlog_ends',
    'dead_letters',
    'fence_members',
    'price_versions',
  ],
  ...['producers', 'api_keys', 'tenant_versions', 'tenants'],
];

/**
 * Names are looked up in `public` before `pg_catalog`, so that statements, views, defaults and functions alike find this
 * `now()` instead of PostgreSQL's. Everything else is real. One database for all tests of a file.
 */
export function useTurnedBooks(): TurnedBooks {
  let database: TestDatabase;
  let client: Client;
  let stores: readonly [Store, Store, Store];

  const query = async <Row extends QueryResultRow>(text: string, values: readonly unknown[] = []): Promise<Row[]> =>
    (await client.query<Row>(text, [...values])).rows;

  async function startStore(): Promise<Store> {
    const options = { applicationName: 'turned-books', poolSize: 1, statementTimeoutMs: 20_000, logger };
    const store = createStore({ url: database.url, ...options });
    await store.start();
    return store;
  }

  beforeAll(async () => {
    database = await createTestDatabase(testServices().postgresUrl);
    await shadowNow(database.url);
    await migrate({ url: database.url, logger });
    client = new Client({ connectionString: database.url, types: exactTypes() });
    await client.connect();
    stores = [await startStore(), await startStore(), await startStore()];
  });
  afterEach(async () => {
    const [idle] = await query<{ busy: bigint }>(
      `SELECT count(*) AS busy FROM pg_stat_activity WHERE datname = current_database() AND state LIKE '%transaction%'`,
    );
    if (idle?.busy !== 0n) throw new Error('a transaction was left open');
  });
  afterAll(async () => {
    await Promise.all(stores.map((store) => store.stop()));
    await client.end();
    await database.drop();
  });

  return {
    get url() {
      return database.url;
    },
    get stores() {
      return stores;
    },
    query,
    async turn(nowMs) {
      await query('UPDATE turned_clock SET at = to_timestamp($1::bigint / 1000.0::float8)', [nowMs]);
    },
    async empty() {
      // Above the triggers that keep the books from being emptied.
      const deletes = TABLES.map((table) => `DELETE FROM ${table};`).join('');
      await query(`SET session_replication_role = replica; ${deletes}
        UPDATE hold_sweep SET swept_until = '-infinity'; SET session_replication_role = origin`);
    },
  };
}

async function shadowNow(url: string): Promise<void> {
  const name = new URL(url).pathname.slice(1);
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(`ALTER DATABASE "${name}" SET search_path = public, pg_catalog`);
    await client.query(`CREATE TABLE turned_clock (at timestamptz NOT NULL);
      INSERT INTO turned_clock VALUES (pg_catalog.now());
      CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
        RETURN (SELECT at FROM turned_clock)`);
  } finally {
    await client.end();
  }
}
