import pg from 'pg';
import { CannotInject, type FaultKind, NOTHING_TO_HEAL } from '../fault.js';
import { restarting, running } from './servers.js';

const TARGET = ['postgres'];
const LOCKED = ['ledger', 'jobs', 'tenants'] as const;

/** Every session of the apps is ended in the midst of what it does. */
export const terminateBackends: FaultKind = {
  name: 'PostgreSQL ends all sessions',
  weight: 4,
  targets: () => TARGET,
  durationMs: [0, 0],
  async inject({ withPostgres }) {
    const ended = await withPostgres(
      async (client) =>
        (
          await client.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                              WHERE backend_type = 'client backend' AND application_name <> 'chaos'`)
        ).rowCount ?? 0,
    );
    if (ended === 0) throw new CannotInject('there was no session');
    return NOTHING_TO_HEAL;
  },
};

/** Nobody can read or write one table, as during a careless ALTER TABLE. */
export const lockTable: FaultKind = {
  name: 'lock a table',
  weight: 4,
  targets: () => TARGET,
  durationMs: [500, 8_000],
  async inject({ server }, { random }) {
    const table = random.pick(LOCKED);
    const client = new pg.Client({ connectionString: running(server('postgres')).url, application_name: 'chaos' });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.query(`BEGIN; SET LOCAL lock_timeout = '2s'; LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`);
    } catch (error) {
      client.end().catch(() => undefined);
      throw new CannotInject(`${table} was not to be locked`, { cause: error });
    }
    return () => client.end();
  },
};

/** Every write fails with an error, reads work, as on a primary that has become a standby. */
export const readOnly: FaultKind = {
  name: 'PostgreSQL read-only',
  weight: 4,
  targets: () => TARGET,
  durationMs: [500, 6_000],
  async inject({ withPostgres }) {
    const set = (how: string): Promise<void> =>
      withPostgres(async (client) => {
        await client.query(`ALTER SYSTEM ${how}`);
        await client.query('SELECT pg_reload_conf()');
      });
    await set('SET default_transaction_read_only = on');
    return () => set('RESET default_transaction_read_only');
  },
};

/** Whatever needs room fails (ENOSPC); the server may end over it. Then the room is there again. */
export const diskFull: FaultKind = {
  name: 'PostgreSQL disk full',
  weight: 4,
  targets: () => TARGET,
  durationMs: [500, 5_000],
  async inject(world) {
    const { smallDisk } = world;
    if (!smallDisk) throw new CannotInject('a small disk takes Linux and root');
    running(world.server('postgres'));
    await smallDisk.fill();
    return async () => {
      await smallDisk.empty();
      await restarting(world, 'postgres')();
    };
  },
};
