import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createDatabase, type Database } from '../src/database.js';
import { logger, useBooks } from './support.js';

const books = useBooks();
const INSERT = { name: 'insert', text: `INSERT INTO tenants (tenant_id, plan, time_zone) VALUES ('acme', 'p', 'UTC')` };
const BACKEND = { name: 'backend', text: 'SELECT pg_backend_pid() AS pid' };
const SLOW = { name: 'slow', text: 'SELECT pg_sleep(60)' };
const options = { statementTimeoutMs: 20_000 };
let database: Database;

beforeEach(async () => {
  // One connection: whatever keeps it stops the test.
  database = createDatabase({
    url: books.url,
    applicationName: 'test',
    poolSize: 1,
    statementTimeoutMs: 10_000,
    logger,
  });
  await database.start();
});
afterEach(() => database.stop());

async function tenants(): Promise<number> {
  return (await books.query('SELECT FROM tenants')).length;
}

describe('a session', () => {
  it('commits what was done together, and gives the connection back', async () => {
    const result = await database.session(options, async (run) => {
      await run(INSERT);
      expect(await tenants()).toBe(0);
      return 'done';
    });
    expect(result).toBe('done');
    expect(await tenants()).toBe(1);
    expect(await database.run(BACKEND)).toHaveLength(1);
  });

  it('rolls back when the work fails, and passes its error on as it is', async () => {
    const error = new Error('the disk is full');
    const working = database.session(options, async (run) => {
      await run(INSERT);
      throw error;
    });
    await expect(working).rejects.toBe(error);
    expect(await tenants()).toBe(0);
    expect(await database.run(BACKEND)).toHaveLength(1);
  });

  it('passes refused values on as they are', async () => {
    await database.run(INSERT);
    const working = database.session(options, (run) => run(INSERT));
    await expect(working).rejects.toMatchObject({ code: '23505' });
  });

  it('has a time limit of its own, which ends with it', async () => {
    const working = database.session({ statementTimeoutMs: 50 }, (run) => run(SLOW));
    await expect(working).rejects.toMatchObject({ code: 'store_unavailable', cause: { code: '57014' } });
    const [limit] = await database.run({ name: 'limit', text: 'SHOW statement_timeout' });
    expect(limit).toEqual({ statement_timeout: '10s' });
  });

  it('ends with store_unavailable when its connection is lost, and the next gets another', async () => {
    const working = database.session(options, async (run) => {
      const [backend] = await run<{ pid: number }>(BACKEND);
      const waiting = run(SLOW);
      await books.query('SELECT pg_terminate_backend($1)', [backend?.pid]);
      await waiting;
    });
    await expect(working).rejects.toMatchObject({ code: 'store_unavailable' });
    expect(await database.session(options, (run) => run(BACKEND))).toHaveLength(1);
  });

  it('ends with store_unavailable when its connection is lost between two statements', async () => {
    const working = database.session(options, async (run) => {
      const [backend] = await run<{ pid: number }>(BACKEND);
      await books.query('SELECT pg_terminate_backend($1)', [backend?.pid]);
      await run(BACKEND);
    });
    await expect(working).rejects.toMatchObject({ code: 'store_unavailable' });
    expect(await database.run(BACKEND)).toHaveLength(1);
  });

  it('ends at once, and without a trace, when the database is stopped', async () => {
    let begun = (): void => undefined;
    const inserted = new Promise<void>((resolve) => (begun = resolve));
    const working = database.session(options, async (run) => {
      await run(INSERT);
      const waiting = run(SLOW);
      begun();
      await waiting;
    });
    const ended = expect(working).rejects.toMatchObject({ code: 'store_unavailable' });
    await inserted;
    await database.stop();
    await ended;
    expect(await tenants()).toBe(0);
    await expect(database.session(options, (run) => run(INSERT))).rejects.toMatchObject({ code: 'store_unavailable' });
  });

  it('ends at once when the database is stopped between two statements', async () => {
    let stopping: Promise<void> | undefined;
    const working = database.session(options, async (run) => {
      await run(INSERT);
      stopping = database.stop();
      await run(BACKEND);
    });
    await expect(working).rejects.toMatchObject({ code: 'store_unavailable' });
    await stopping;
    expect(await tenants()).toBe(0);
  });
});
