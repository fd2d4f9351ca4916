import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { killTree } from './managed-process.js';
import { processesIn, type ProcessIdentity, waitUntilGone } from './process-table.js';

/** Names of the programs a slot may run, as the process table has them (15 characters at most). */
const PROGRAMS = new Set([
  ...['postgres', 'initdb', 'redis-server', 'valkey-server'],
  ...['rabbitmq-server', 'beam.smp', 'epmd', 'erl_child_setup', 'inet_gethost', 'erlexec'],
]);

const GONE_TIMEOUT_MS = 10_000;

/**
 * Ends the servers that an owner of this slot left running because it was killed itself. They are known by the records
 * it wrote, and on Linux also by running one of our programs inside one of `directories`; a process that merely got a
 * recorded number later is not touched.
 */
export async function endLeftovers(slotDirectory: string, directories: readonly string[]): Promise<number> {
  const strays = directories.flatMap((directory) => processesIn(directory, PROGRAMS));
  const family = [...recorded(slotDirectory), ...strays].flatMap(killTree);
  if (!(await waitUntilGone(family, GONE_TIMEOUT_MS)))
    throw new Error(`servers left in ${slotDirectory} survive SIGKILL`);
  return family.length;
}

function recorded(slotDirectory: string): readonly ProcessIdentity[] {
  return readdirSync(slotDirectory)
    .filter((name) => name.endsWith('.process.json'))
    .flatMap((name) => {
      try {
        return [JSON.parse(readFileSync(join(slotDirectory, name), 'utf8')) as ProcessIdentity];
      } catch {
        return []; // cut short by a crash while it was written
      }
    });
}
