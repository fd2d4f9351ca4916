import type { Pool, QueryResultRow } from 'pg';
import { toStoreError } from './postgres-errors.js';
import { loadStatement, type Statement } from './statements.js';

/** Runs one statement within a transaction and returns its rows. Not prepared: these run once in a while. */
export type SessionQuery = <Row extends QueryResultRow>(
  statement: Statement,
  values?: readonly unknown[],
) => Promise<readonly Row[]>;

export interface SessionOptions {
  /** After this PostgreSQL gives a statement up, milliseconds; may exceed what the pool allows. */
  readonly statementTimeoutMs: number;
}

const setStatementTimeout = loadStatement('set-statement-timeout');

/** How much longer than the server the client waits before it gives the connection up. */
const CLIENT_MARGIN_MS = 2_000;

/**
 * Does `work` in one transaction on one connection of the pool: commits when it returns, rolls back when it throws.
 *
 * @throws what `work` throws; errors of its statements as those of `Database.run`.
 */
export async function runSession<T>(
  pool: Pool,
  { statementTimeoutMs }: SessionOptions,
  work: (run: SessionQuery) => Promise<T>,
): Promise<T> {
  const client = await pool.connect().catch(rethrow);
  let lost: Error | undefined;
  const onError = (error: Error): void => {
    lost = error;
  };
  // n.b. the pool listens to idle connections only; without a listener the loss of this one would end the process.
  client.on('error', onError);

  async function run<Row extends QueryResultRow>({ text }: Pick<Statement, 'text'>, values: readonly unknown[] = []) {
    const query = { text, values: [...values], query_timeout: statementTimeoutMs + CLIENT_MARGIN_MS };
    return (await client.query<Row>(query).catch(rethrow)).rows;
  }

  try {
    await run({ text: 'BEGIN' });
    await run(setStatementTimeout, [String(statementTimeoutMs)]);
    const result = await work(run);
    await run({ text: 'COMMIT' });
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch(onError);
    throw error;
  } finally {
    client.off('error', onError);
    client.release(lost);
  }
}

function rethrow(error: unknown): never {
  throw toStoreError(error);
}
