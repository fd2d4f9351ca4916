import type { Client, Pool, QueryResultRow } from 'pg';
import { toStoreError } from './postgres-errors.js';
import { loadStatement, type Statement } from './statements.js';

/** Runs one statement within a transaction and returns its rows. Not prepared: these run once in a while. */
export type SessionQuery = <Row extends QueryResultRow>(
  statement: Statement,
  values?: readonly unknown[],
) => Promise<readonly Row[]>;

/** A pool and the signal that it is to be closed. */
export interface SessionPool {
  readonly pool: Pool;
  readonly signal: AbortSignal;
}

export interface SessionOptions {
  /** After this PostgreSQL gives a statement up, milliseconds; may exceed what the pool allows. */
  readonly statementTimeoutMs: number;
}

const setStatementTimeout = loadStatement('set-statement-timeout');

/** How much longer than the server the client waits before it gives the connection up. */
const CLIENT_MARGIN_MS = 2_000;

/**
 * Does `work` in one transaction on one connection of the pool: commits when it returns, rolls back when it throws. It may
 * take long, so the signal ends it at once: its statement fails, and nothing of it stays.
 *
 * @throws what `work` throws; errors of its statements as those of `Database.run`.
 */
export async function runSession<T>(
  { pool, signal }: SessionPool,
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
  const onAbort = (): void => {
    lost ??= new Error('the store was stopped');
    // A pool's client is a Client. n.b. in the middle of a statement this destroys the socket, so that nothing waits for it.
    (client as unknown as Client).end().catch(onError);
  };
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();

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
    signal.removeEventListener('abort', onAbort);
    // A lost connection may still have something to say.
    if (lost === undefined) client.off('error', onError);
    client.release(lost);
  }
}

function rethrow(error: unknown): never {
  throw toStoreError(error);
}
