import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startLocalServices, type LocalServices } from '@sluice/local-services';
import { LOCAL } from '@sluice/scripts';
import type { BenchmarkOptions } from './benchmark.js';
import type { Roles } from './cpu.js';

/**
 * Does work on private servers, in a folder of its own, and takes both down afterwards. Of work that failed the folder
 * stays, with the logs in it.
 *
 * Servers that are in use by others, or far away, would decide the figures; so the environment names none.
 */
export async function onPrivateServers<Result>(
  { report, signal }: BenchmarkOptions,
  work: (services: LocalServices, directory: string) => Promise<Result>,
): Promise<Result> {
  const directory = join(LOCAL, 'benchmarks');
  await mkdir(directory, { recursive: true });
  const own = await mkdtemp(join(directory, 'run-'));
  const services = await startLocalServices({
    directory: join(directory, 'services'),
    environment: { PATH: process.env['PATH'] },
    report: ({ server, message }) => report(`${server}: ${message}`),
  });
  let failed = false;
  try {
    return await work(services, own);
  } catch (error) {
    signal.throwIfAborted();
    failed = true;
    throw new Error(`the run failed; logs are in ${own}`, { cause: error });
  } finally {
    await services.stop();
    if (!failed) await rm(own, { recursive: true, force: true });
  }
}

/** The servers as roles, by their names. A server that is not a process of this machine has none. */
export function serverRoles({ servers }: LocalServices): Roles {
  return Object.fromEntries(
    Object.values(servers).map(({ name, pid }) => [name, pid === undefined ? [] : [pid]] as const),
  );
}
