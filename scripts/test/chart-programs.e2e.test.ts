import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { startApp, type AppName, type AppProcess } from '../src/app-process.js';
import { idOf } from '../src/manifests/objects.js';
import { CHART } from '../src/manifests/places.js';
import { MODEL_DIR, ROOT } from '../src/paths.js';
import { podOf, readManifests, type Manifests, type Variable } from './committed-manifests.js';
import { isolate, type Isolated } from './isolated-suite.js';

// The programs as the chart starts them: its environment, its ConfigMap, and the script of `helm test`. Only what a container has of its
// own is put in place: folders, ports, and what stands in Secrets.

const execute = promisify(execFile);
const PEPPER = 'the-pepper-of-this-test';
const ADMIN_KEY = 'the-admin-key-of-this-test';
const PROGRAMS = [
  { app: 'results-collector', object: 'Deployment/sluice-collector' },
  { app: 'ml-worker', object: 'Deployment/sluice-worker-text' },
  { app: 'api-gateway', object: 'Deployment/sluice-gateway' },
] as const satisfies readonly { readonly app: AppName; readonly object: string }[];

let isolated: Isolated;
let folder: string;
let manifests: Manifests;
const started: AppProcess[] = [];

beforeAll(async () => {
  isolated = await isolate();
  folder = await mkdtemp(join(tmpdir(), 'sluice-chart-'));
  manifests = await readManifests();
  const config = manifests.objects.base.find((object) => idOf(object) === 'ConfigMap/sluice-config');
  for (const [file, text] of Object.entries((config?.['data'] ?? {}) as Readonly<Record<string, string>>)) {
    await writeFile(join(folder, file), text);
  }
}, 120_000);
afterAll(async () => {
  await Promise.all(started.map((app) => app.kill()));
  await isolated.close();
  await rm(folder, { recursive: true, force: true });
});

/** The environment of an object's container. */
function environmentOf(id: string): Readonly<Record<string, string>> {
  const object = manifests.objects.base.find((each) => idOf(each).startsWith(id));
  const [container] = (object && podOf(object)?.containers) ?? [];
  const given = Object.fromEntries((container?.env ?? []).map((variable) => [variable.name, valueOf(variable)]));
  return { PATH: process.env['PATH'] ?? '', ...given, ...ofThisMachine(given) };
}

function valueOf({ name, value, valueFrom }: Variable): string {
  const secrets: Readonly<Record<string, string>> = { apiKeyPepper: PEPPER, adminKey: ADMIN_KEY };
  const key = valueFrom?.secretKeyRef?.key ?? '';
  return value ?? isolated.environment[name] ?? secrets[key] ?? 'pod-1';
}

function ofThisMachine(given: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const places: Readonly<Record<string, string>> = {
    SLUICE_HOST: '127.0.0.1',
    SLUICE_PORT: '0',
    SLUICE_OPS_HOST: '127.0.0.1',
    SLUICE_OPS_PORT: '0',
    SLUICE_CONFIG_DIR: folder,
    SLUICE_MODEL_DIR: MODEL_DIR,
    SLUICE_CALIBRATION_DIR: join(folder, 'calibration'),
    SLUICE_KEY_PREFIX: isolated.environment['SLUICE_KEY_PREFIX'] ?? '',
  };
  return Object.fromEntries(Object.entries(places).filter(([name]) => name in given));
}

it('migrate, start, become ready, and do the job that helm test submits', async () => {
  const migrate = join(ROOT, 'scripts', 'dist', 'migrate.js');
  await execute(process.execPath, [migrate], { env: environmentOf('Job/sluice-migrate-') });

  for (const { app, object } of PROGRAMS) {
    const environment = environmentOf(object);
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
