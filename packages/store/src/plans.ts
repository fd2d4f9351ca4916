import type { Plan } from '@sluice/contracts';
import type { Logger } from '@sluice/runtime';
import { Client } from 'pg';
import { sqlState, toStoreError } from './postgres-errors.js';
import { loadStatement } from './statements.js';

export interface SyncPlansOptions {
  readonly url: string;
  /** The configured plans by name, parsed. */
  readonly plans: Readonly<Record<string, Plan>>;
  readonly logger: Logger;
}

const statements = {
  lock: loadStatement('lock-plans'),
  time: loadStatement('plan-time'),
  end: loadStatement('end-plans'),
  insert: loadStatement('insert-plans'),
};

/**
 * Notes the configured plans as those in force from now on, all or nothing. A plan that is as before gets no new version;
 * one that is not configured any more ends. The plans themselves are read from the configuration: these are their history.
 *
 * @throws ServiceError `store_unavailable`.
 */
export async function syncPlans({ url, plans, logger }: SyncPlansOptions): Promise<void> {
  const client = new Client({ connectionString: url, application_name: 'sluice-plans' });
  client.on('error', (error) => logger.warn({ err: error }, 'the connection was lost while storing plans'));
  try {
    await client.connect();
    // Left open on any error: the end of the session rolls it back.
    await client.query('BEGIN');
    await client.query(statements.lock.text);
    const { rows } = await client.query<{ at: string }>(statements.time.text);
    const values = [JSON.stringify(plans), rows[0]?.at];
    const { rowCount: ended } = await client.query(statements.end.text, values);
    const { rowCount: added } = await client.query(statements.insert.text, values);
    await client.query('COMMIT');
    logger.info({ added, ended }, 'plans are in line');
  } catch (error) {
    throw sqlState(error) === undefined ? toStoreError(error) : error;
  } finally {
    await client.end();
  }
}
