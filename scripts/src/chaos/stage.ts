import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { findFreePorts, type LocalServices, startLocalServices } from '@sluice/local-services';
import { buildModels } from '@sluice/models';
import { MODEL_DIR } from '../paths.js';
import { startSuite, type Suite } from '../suite.js';
import type { Cast } from './fault.js';
import { restarting } from './faults/servers.js';
import { createKeeper, type Keeper } from './keeper.js';
import { createSmallDisk, type SmallDisk } from './small-disk.js';
import { createLinks, type Links } from './links.js';
import { createWorld, type World } from './world.js';

/** Servers and apps of one run, all of its own. */
export interface Stage {
  readonly services: LocalServices;
  readonly suite: Suite;
  readonly world: World;
  /** Whatever faults have left behind: servers run, ways are open, apps work. */
  healAll(): Promise<void>;
  /** Ends everything. Logs stay; data too when `keepData`. */
  close(options: { readonly keepData: boolean }): Promise<void>;
}

export interface StageOptions {
  readonly directory: string;
  readonly report: (line: string) => void;
  readonly signal: AbortSignal;
  /** Further environment for every app. */
  readonly extra?: Readonly<Record<string, string>> | undefined;
}

/** Two of each, so that one can fail alone. */
export const CAST: Cast = {
  gateways: ['api-gateway-1', 'api-gateway-2'],
  workers: ['ml-worker-1', 'ml-worker-2'],
  collectors: ['results-collector-1', 'results-collector-2'],
};
const APP_NAMES = Object.values(CAST).flat() as readonly string[];

/** Two for two workers of a machine: more would leave no core for servers and load. */
const INFERENCE_PROCESSES = '1';

/** Starts servers and apps; what was started is ended again when that fails or `signal` aborts. */
export async function openStage({ directory, report, signal, extra }: StageOptions): Promise<Stage> {
  await mkdir(directory, { recursive: true });
  const models = buildModels({ directory: MODEL_DIR });
  models.catch(() => undefined); // awaited below, when the servers have started
  const services = await startLocalServices({
    directory: join(directory, 'services'),
    // n.b. not the environment as it is: chaos is for servers of its own, never for those that somebody named.
    environment: Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SLUICE_'))),
    keepData: true,
    report: ({ server, message }) => report(`${server}: ${message}`),
  });
  const opened: { links?: Links; suite?: Suite; keeper?: Keeper; smallDisk?: SmallDisk } = {};

  async function close({ keepData }: { readonly keepData: boolean }): Promise<void> {
    opened.keeper?.stop();
    await Promise.all((opened.suite?.apps ?? []).map((app) => app.kill()));
    await opened.links?.close();
    const folders = Object.values(services.servers).flatMap(({ dataDirectory }) => dataDirectory ?? []);
    await services.stop();
    await opened.smallDisk?.close({ keepData });
    if (!keepData) await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
    if (!keepData) await removeOutside(folders, directory);
  }

  try {
    const smallDisk = await createSmallDisk(services.servers.postgres);
    if (smallDisk) opened.smallDisk = smallDisk;
    await models;
    signal.throwIfAborted();
    const links = (opened.links = await createLinks(APP_NAMES, services.environment));
    const suite = (opened.suite = await startApps({ services, links, directory, extra }));
    signal.throwIfAborted();
    const keeper = (opened.keeper = createKeeper(suite.apps, report));
    const world = createWorld({ apps: suite.apps, services, keeper, links, directory, smallDisk });
    return { services, suite, world, healAll: () => healAll(world, suite), close };
  } catch (error) {
    await close({ keepData: false });
    throw error;
  }
}

interface AppsOptions {
  readonly services: LocalServices;
  readonly links: Links;
  readonly directory: string;
  readonly extra: StageOptions['extra'];
}

/** n.b. the gateways' ports are below those that the system hands out, so that nobody takes one while its owner is down. */
async function startApps({ services, links, directory, extra }: AppsOptions): Promise<Suite> {
  const ports = await findFreePorts(CAST.gateways.length);
  return startSuite({
    environment: services.environment,
    directory: join(directory, 'logs'),
    gateways: CAST.gateways.length,
    workers: CAST.workers.length,
    collectors: CAST.collectors.length,
    extra: { SLUICE_INFERENCE_PROCESSES: INFERENCE_PROCESSES, ...extra },
    environmentOf(name) {
      const port = ports[CAST.gateways.indexOf(name)];
      return { ...links.environmentOf(name), ...(port !== undefined && { SLUICE_PORT: String(port) }) };
    },
  });
}

/** Every fault heals itself; this is for those that broke on the way. */
async function healAll(world: World, suite: Suite): Promise<void> {
  for (const name of ['postgres', 'redis', 'rabbitmq'] as const) {
    await restarting(world, name)();
    world.server(name).resume();
  }
  for (const app of suite.apps) app.signal('SIGCONT');
}

/** PostgreSQL's data lie in a folder of the system's where its user may not enter ours; that folder is then of this run alone. */
async function removeOutside(folders: readonly string[], directory: string): Promise<void> {
  for (const folder of folders
    .map(dirname)
    .filter((parent) => parent.startsWith(tmpdir()) && !parent.startsWith(directory))) {
    await rm(folder, { recursive: true, force: true });
  }
}
