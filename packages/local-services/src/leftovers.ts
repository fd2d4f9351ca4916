import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { endTree, killTree } from './managed-process.js';
import { processesIn, type ProcessIdentity, waitUntilGone } from './process-table.js';

/** Names of the programs a slot may run, as the process table has them (15 characters at most). */
const PROGRAMS = new Set([
  ...['postgres', 'initdb', 'redis-server', 'valkey-server'],
  ...['rabbitmq-server', 'beam.smp', 'epmd', 'erl_child_setup', 'inet_gethost', 'erlexec'],
]);

const POSTGRES_RECORD = 'postgres.process.json';
const GONE_TIMEOUT_MS = 10_000;

/**
 * Ends the servers that an owner of this slot left running because it was killed itself. They are known by the records
 * it wrote, and on Linux also by running one of our programs inside one of `directories`; a process that merely got a
 * recorded number later is not touched.
 */
export async function endLeftovers(slotDirectory: string, directories: readonly string[]): Promise<void> {
  const records = readdirSync(slotDirectory).filter((name) => name.endsWith('.process.json'));
  // PostgreSQL first and gently: killed, it would leave shared memory behind for good.
  const postgres = records.filter((name) => name === POSTGRES_RECORD).flatMap((name) => read(slotDirectory, name));
  await waitUntilGone(
    postgres.flatMap((root) => endTree(root, 'SIGQUIT')),
    GONE_TIMEOUT_MS,
  );
  const strays = directories.flatMap((directory) => processesIn(directory, PROGRAMS));
  const family = [...records.flatMap((name) => read(slotDirectory, name)), ...strays].flatMap(killTree);
  if (!(await waitUntilGone(family, GONE_TIMEOUT_MS))) {
    throw new Error(`servers left in ${slotDirectory} survive SIGKILL`);
  }
  for (const name of records) rmSync(join(slotDirectory, name), { force: true });
}

function read(slotDirectory: string, name: string): readonly ProcessIdentity[] {
  try {
    return [JSON.parse(readFileSync(join(slotDirectory, name), 'utf8')) as ProcessIdentity];
  } catch {
    return []; // cut short by a crash while it was written
  }
}
