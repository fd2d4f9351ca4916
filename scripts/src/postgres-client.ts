import pg from 'pg';

const STATEMENT_TIMEOUT_MS = 30_000;

/** Does some work on a connection of its own to the database at `url`; statements may take 30 s. */
export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, statement_timeout: STATEMENT_TIMEOUT_MS });
  // n.b. a connection that breaks while idle would end the process; the next query fails with the reason.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
