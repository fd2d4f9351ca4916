import type { Logger, Service } from '@sluice/runtime';
import { Pool, type QueryResultRow, TypeOverrides } from 'pg';
import { errorKind, toStoreError } from './postgres-errors.js';
import { runSession, type SessionOptions, type SessionQuery } from './session.js';
import { loadStatement, type Statement } from './statements.js';

export interface DatabaseOptions {
  /** `postgres://user:password@host:port/database`. */
  readonly url: string;
  /** Seen in pg_stat_activity. */
  readonly applicationName: string;
  /** Most connections. */
  readonly poolSize: number;
  /** After this PostgreSQL gives a statement up; the client waits a little longer. Milliseconds, at most a minute. */
  readonly statementTimeoutMs: number;
  readonly logger: Logger;
}

/** A bounded pool of connections that runs the statements of `sql/`. */
export interface Database extends Service {
  /**
   * Runs one statement, prepared by name, and returns its rows. bigint columns are `bigint`.
   *
   * @throws ServiceError `store_unavailable` when the database cannot serve; the database's own error when it refused
   * the values.
   */
  run<Row extends QueryResultRow>(statement: Statement, values?: readonly unknown[]): Promise<readonly Row[]>;
  /** Runs a statement unprepared and outside any transaction, as procedures that commit need it. */
  call(statement: Statement): Promise<void>;
  /** Does `work` in one transaction of its own, with a time limit of its own, until `stop`; see `runSession`. */
  session<T>(options: SessionOptions, work: (run: SessionQuery) => Promise<T>): Promise<T>;
}

/** Losing against another transaction this often means that something is wrong. */
const MAX_TRIES = 4;
const CONNECT_TIMEOUT_MS = 5_000;
/** How much longer than the server the client waits before it gives the connection up. */
const CLIENT_MARGIN_MS = 2_000;
/** n.b. hold_grace() must exceed the longest statement: the sweep's mark relies on it. */
const MAX_STATEMENT_TIMEOUT_MS = 60_000;
const INT8_OID = 20;

const ping = loadStatement('ping');

export function createDatabase(options: DatabaseOptions): Database {
  const { logger } = options;
  const statementTimeoutMs = Math.min(options.statementTimeoutMs, MAX_STATEMENT_TIMEOUT_MS);
  const pool = new Pool({
    connectionString: options.url,
    application_name: options.applicationName,
    max: options.poolSize,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + CLIENT_MARGIN_MS,
    keepAlive: true,
    types: exactTypes(),
    // One plan for each prepared statement: planning the partitioned ones anew costs more than running them. So does
    // compiling them (90 ms of quota-facts.sql, which runs for 12), yet their estimated costs would call for it.
    options: '-c plan_cache_mode=force_generic_plan -c jit=off',
  });
  // n.b. without a listener the loss of an idle connection would end the process.
  pool.on('error', (error) => logger.warn({ err: error }, 'an idle database connection was lost'));
  const stopped = new AbortController();
  let stopping: Promise<void> | undefined;

  async function run<Row extends QueryResultRow>(statement: Statement, values: readonly unknown[] = []) {
    for (let attempt = 1; ; attempt++) {
      try {
        const result = await pool.query<Row>({ ...statement, values: [...values] });
        return result.rows;
      } catch (error) {
        if (errorKind(error) !== 'contention' || attempt === MAX_TRIES) throw toStoreError(error);
        logger.warn(
          { err: error, statement: statement.name, attempt },
          'lost against another transaction, trying again',
        );
      }
    }
  }

  return {
    run,
    async call(statement) {
      await pool.query(statement.text).catch((error: unknown) => {
        throw toStoreError(error);
      });
    },
    session: (sessionOptions, work) => runSession({ pool, signal: stopped.signal }, sessionOptions, work),
    async start() {
      await run(ping);
    },
    stop() {
      stopped.abort();
      stopping ??= pool.end();
      return stopping;
    },
  };
}

/** How columns are read: int8 becomes `bigint`, because amounts exceed what a number holds exactly. */
export function exactTypes(): TypeOverrides {
  const overrides = new TypeOverrides();
  overrides.setTypeParser(INT8_OID, BigInt);
  return overrides;
}
