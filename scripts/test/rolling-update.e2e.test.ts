import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { createLogger, durationMs } from '@sluice/runtime';
import { parse, stringify } from 'yaml';
import { APPS, startApp, type AppName, type AppProcess } from '../src/app-process.js';
import { closeClient, createTenant } from '../src/client.js';
import { prepareDatabase } from '../src/database.js';
import { booksOf } from './books-of.js';
import { ADMIN_KEY, chartEnvironment, WORKLOADS, type ChartEnvironment } from './chart-environment.js';
import { isolate, type Isolated } from './isolated-suite.js';
import { startBalancer, type Balancer, type Pod } from './rolling-balancer.js';
import { startClients } from './rolling-clients.js';

// What Kubernetes does with the chart's Deployments: a new pod is ready first, then an old one is told to end. The programs run with the
// chart's environment; its times, and those of the probes, are all shortened by the same factor.

const SHORTENED = 4;
const TIMES = ['SLUICE_SHUTDOWN_DELAY', 'SLUICE_DRAIN_TIMEOUT'];
/** readinessProbe.periodSeconds and minReadySeconds of the chart. */
const PROBE_MS = 2000 / SHORTENED;
const MIN_READY_MS = 5000 / SHORTENED;
/** How long the ends of a Service may lag behind readiness; not shortened. */
const LAG_MS = 1000;
const REPLICAS = 2;

let isolated: Isolated;
let folder: string;
let chart: ChartEnvironment;
let balancer: Balancer;
const started: AppProcess[] = [];

beforeAll(async () => {
  isolated = await isolate();
  folder = await mkdtemp(join(tmpdir(), 'sluice-rolling-'));
  chart = await chartEnvironment(isolated, folder);
  await addParkedModel();
  const url = isolated.environment['SLUICE_POSTGRES_URL'] ?? '';
  await prepareDatabase({ url, configDir: folder, logger: createLogger({ app: 'migrate', level: 'silent' }) });
  balancer = await startBalancer({ probeMs: PROBE_MS, lagMs: LAG_MS });
}, 120_000);
afterAll(async () => {
  await Promise.all(started.map((app) => app.kill()));
  await balancer.stop();
  await closeClient();
  await isolated.close();
  await rm(folder, { recursive: true, force: true });
});

/** Moves a model to a pool without workers, so that its jobs stay open and polls for them last. */
async function addParkedModel(): Promise<void> {
  const file = join(folder, 'models.yaml');
  const { pools, models } = parse(await readFile(file, 'utf8')) as { pools: object; models: Record<string, object> };
  const parked = { ...models['guesslang'], pool: 'parked' };
  const changed = { pools: { ...pools, parked: { classes: ['standard'] } }, models: { ...models, guesslang: parked } };
  await writeFile(file, stringify(changed));
}

function environmentOf(app: AppName): Readonly<Record<string, string>> {
  const given = chart.of(WORKLOADS[app]);
  const shortened = (name: string): string => `${durationMs.parse(given[name]) / SHORTENED}ms`;
  const times = TIMES.filter((name) => name in given).map((name) => [name, shortened(name)] as const);
  return { ...given, ...Object.fromEntries(times) };
}

/** A pod of an app, once it is ready. */
async function startPod(app: AppName, revision: string): Promise<AppProcess> {
  const name = `${app}-${revision}`;
  const pod = await startApp({ app, name, environment: environmentOf(app), logFile: join(folder, `${name}.log`) });
  started.push(pod);
  if (app === 'api-gateway') await balancer.add(podOf(pod));
  return pod;
}

function podOf({ name, port = 0, opsPort = 0 }: AppProcess): Pod {
  return { name, port, opsPort };
}

/** Replaces the pods of an app; resolves with the new ones when the old ones have ended, each by itself. */
async function roll(app: AppName, old: readonly AppProcess[], revision: string): Promise<readonly AppProcess[]> {
  const pods: AppProcess[] = [];
  const ends: Promise<number | null>[] = [];
  for (const [index, leaving] of old.entries()) {
    pods.push(await startPod(app, `${revision}-${index + 1}`));
    await sleep(MIN_READY_MS);
    ends.push(leaving.stop());
  }
  expect([app, revision, await Promise.all(ends)]).toEqual([app, revision, old.map(() => 0)]);
  return pods;
}

it('an update and its rollback fail no request and lose no job', async () => {
  const first = (app: AppName): Promise<readonly AppProcess[]> =>
    Promise.all(Array.from({ length: REPLICAS }, (_, index) => startPod(app, `first-${index + 1}`)));
  const pods = new Map(await Promise.all(APPS.map(async (app) => [app, await first(app)] as const)));
  await sleep(LAG_MS + PROBE_MS);
  const tenant = await createTenant({ url: balancer.url, adminKey: ADMIN_KEY }, { tenantId: 'rolled', plan: 'demo' });
  const clients = startClients({ url: balancer.url, tenant, parkedModel: 'guesslang' });

  for (const revision of ['update', 'rollback']) {
    await Promise.all(APPS.map(async (app) => pods.set(app, await roll(app, pods.get(app) ?? [], revision))));
  }
  const jobs = await clients.finish();

  expect(clients.failures).toEqual([]);
  // Every gateway had work, and polls that would have lasted a minute were answered by those that ended.
  expect(balancer.given.size).toBe(REPLICAS * 3);
  expect(clients.earlyPolls).toBeGreaterThan(0);
  const unwanted = jobs.filter(({ state }) => state === 'canceled').length;
  expect(unwanted).toBe(3);
  expect(jobs.filter(({ state }) => state === 'succeeded').length).toBe(jobs.length - unwanted);
  expect(jobs.length).toBeGreaterThan(100);

  const books = await booksOf(isolated, balancer.url, tenant);
  const billed = jobs.reduce((sum, { usage }) => sum + (usage?.inputTokens ?? 0) + (usage?.outputTokens ?? 0), 0);
  expect([...books.ledger.keys()].toSorted()).toEqual(jobs.map(({ id }) => id).toSorted());
  expect([...books.ledger.values()].filter(({ reserves, terminals }) => reserves !== 1 || terminals !== 1)).toEqual([]);
  expect({ used: books.used, held: books.held, alarms: books.alarms }).toEqual({ used: billed, held: 0, alarms: [] });
});
