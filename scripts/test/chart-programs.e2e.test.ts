import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { APPS, startApp, type AppProcess } from '../src/app-process.js';
import { CHART } from '../src/manifests/places.js';
import { ROOT } from '../src/paths.js';
import { ADMIN_KEY, chartEnvironment, WORKLOADS, type ChartEnvironment } from './chart-environment.js';
import { isolate, type Isolated } from './isolated-suite.js';

// The programs as the chart starts them: its environment, its ConfigMap, and the script of `helm test`. Only what a container has of its
// own is put in place: folders, ports, and what stands in Secrets.

const execute = promisify(execFile);

let isolated: Isolated;
let folder: string;
let chart: ChartEnvironment;
const started: AppProcess[] = [];

beforeAll(async () => {
  isolated = await isolate();
  folder = await mkdtemp(join(tmpdir(), 'sluice-chart-'));
  chart = await chartEnvironment(isolated, folder);
}, 120_000);
afterAll(async () => {
  await Promise.all(started.map((app) => app.kill()));
  await isolated.close();
  await rm(folder, { recursive: true, force: true });
});

it('migrate, start, become ready, and do the job that helm test submits', async () => {
  const migrate = join(ROOT, 'scripts', 'dist', 'migrate.js');
  await execute(process.execPath, [migrate], { env: chart.of('Job/sluice-migrate-') });

  for (const app of APPS.toReversed()) {
    const environment = chart.of(WORKLOADS[app]);
    started.push(await startApp({ app, name: app, environment, logFile: join(folder, `${app}.log`) }));
  }
  for (const { app, opsPort } of started) {
    const { status } = await fetch(`http://127.0.0.1:${opsPort}/readyz`);
    expect([app, status]).toEqual([app, 200]);
  }

  const script = await readFile(join(CHART, 'files', 'tests', 'submit.mjs'), 'utf8');
  const gateway = started.find(({ app }) => app === 'api-gateway');
  const environment = {
    ...{ GATEWAY_URL: `http://127.0.0.1:${gateway?.port}`, SLUICE_ADMIN_KEY: ADMIN_KEY, TIMEOUT_SECONDS: '60' },
    ...{ TENANT: 'helm-test', PLAN: 'trial', MODEL: 'guesslang', INPUT: 'SELECT name FROM users WHERE id = 7;' },
  };
  const { stdout } = await execute(process.execPath, ['--input-type=module', '--eval', script], { env: environment });
  expect(stdout).toContain('"state": "succeeded"');

  const wrong = { ...environment, SLUICE_ADMIN_KEY: 'another-key-of-16-characters' };
  const failed = execute(process.execPath, ['--input-type=module', '--eval', script], { env: wrong });
  await expect(failed).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('answered 403') as unknown });
});
