import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { findPromtool } from '@sluice/local-services';
import { parse } from 'yaml';
import { ROOT } from '../src/paths.js';
import { readStages } from './dockerfile.js';

interface Service {
  readonly image: string;
  readonly build?: { readonly context: string; readonly target: string };
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, null>>;
}

function read(file: string): unknown {
  return parse(readFileSync(join(ROOT, file), 'utf8'), { merge: true });
}

const { services, volumes } = read('docker-compose.yml') as Compose;
const all = Object.entries(services);
const built = all.filter(([, { build }]) => build !== undefined);

describe('docker-compose.yml', () => {
  it('publishes ports on loopback only', () => {
    const ports = all.flatMap(([, service]) => service.ports ?? []);
    expect(ports.length).toBeGreaterThan(4);
    expect(ports.filter((port) => !port.startsWith('127.0.0.1:'))).toEqual([]);
  });

  it('builds each image of ours from a target of the Dockerfile, named after it', () => {
    const stages = readStages();
    expect(built.map(([name]) => name).sort()).toEqual(
      ['api-gateway', 'migrate', 'ml-worker', 'models', 'results-collector'].sort(),
    );
    for (const [name, { build, image }] of built) {
      expect({ name, target: build?.target, image }).toEqual({ name, target: name, image: `sluice/${name}` });
      expect(stages.has(name)).toBe(true);
    }
  });

  it('gives what is ours a file system to read and no rights of root', () => {
    const rights = built.map(([name, { read_only, cap_drop }]) => ({ name, read_only, cap_drop }));
    expect(rights).toEqual(built.map(([name]) => ({ name, read_only: true, cap_drop: ['ALL'] })));
  });

  it('mounts only files that exist and volumes that are declared', () => {
    const sources = all.flatMap(([, service]) => service.volumes ?? []).map((mount) => mount.split(':')[0] ?? '');
    const missing = sources.filter((source) =>
      source.startsWith('./') ? !existsSync(join(ROOT, source)) : !(source in volumes),
    );
    expect(missing).toEqual([]);
  });

  it('waits only for services that can be healthy, or end', () => {
    const waits = all.flatMap(([name, service]) =>
      Object.entries(service.depends_on ?? {}).map(([needed, { condition }]) => ({ name, needed, condition })),
    );
    const wrong = waits.filter(({ needed, condition }) =>
      condition === 'service_healthy' ? services[needed]?.healthcheck === undefined : !(needed in services),
    );
    expect(wrong).toEqual([]);
  });

  it('sets only variables that docs/configuration.md knows', () => {
    const page = readFileSync(join(ROOT, 'docs', 'configuration.md'), 'utf8');
    const names = built.flatMap(([, { environment = {} }]) => Object.keys(environment));
    const ours = names.filter((name) => name.startsWith('SLUICE_'));
    expect(ours).toContain('SLUICE_API_KEY_PEPPER');
    expect(ours.filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
  });

  it('runs the servers that local-services runs in containers', () => {
    const source = readFileSync(join(ROOT, 'packages/local-services/src/containers.ts'), 'utf8');
    const images = [...source.matchAll(/^ {4}image: '([^']+)'/gm)].map(([, image]) => image);
    expect(['postgres', 'redis', 'rabbitmq'].map((name) => services[name]?.image)).toEqual(images);
  });
});

/** Puts the files of the checkout that a service mounts below a folder, where its container has them. */
function mountFiles(service: string, folder: string): void {
  const mounts = (services[service]?.volumes ?? []).filter((mount) => mount.startsWith('./'));
  for (const [source = '', target = ''] of mounts.map((mount) => mount.split(':'))) {
    mkdirSync(dirname(join(folder, target)), { recursive: true });
    cpSync(join(ROOT, source), join(folder, target), { recursive: true });
  }
}

function inFolder<T>(work: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-compose-'));
  const done = (): void => rmSync(folder, { recursive: true });
  const result = work(folder);
  if (result instanceof Promise) return result.finally(done) as T;
  done();
  return result;
}

it('Prometheus of docker-compose.yml takes its configuration, with the alert rules of the chart', async () => {
  const promtool = await findPromtool(process.env);
  await inFolder(async (folder) => {
    mountFiles('prometheus', folder);
    const checked = await promtool.run(['check', 'config', 'prometheus.yml'], join(folder, 'etc', 'prometheus'));
    expect(checked).toMatchObject({ ok: true, output: expect.stringMatching(/SUCCESS: \d+ rules found/) as unknown });
  });
}, 300_000);

it('Grafana of docker-compose.yml is told of the folder that has the dashboards of the chart', () => {
  const provisioning = read('config/observability/grafana-dashboards.yaml') as {
    readonly providers: readonly { readonly options: { readonly path: string } }[];
  };
  inFolder((folder) => {
    mountFiles('grafana', folder);
    expect(readdirSync(join(folder, 'etc/grafana/provisioning'))).toEqual(['dashboards', 'datasources']);
    const found = provisioning.providers.flatMap(({ options }) => readdirSync(join(folder, options.path)));
    expect(found).toEqual(readdirSync(join(ROOT, 'helm', 'sluice', 'files', 'dashboards')));
    expect(found.length).toBeGreaterThan(0);
  });
});

it('Prometheus of docker-compose.yml scrapes services that there are', () => {
  const { scrape_configs: configs } = read('config/observability/prometheus.yaml') as {
    readonly scrape_configs: readonly {
      readonly dns_sd_configs?: readonly { readonly names: readonly string[] }[];
      readonly static_configs?: readonly { readonly targets: readonly string[] }[];
    }[];
  };
  const hosts = configs.flatMap(({ dns_sd_configs = [], static_configs = [] }) => [
    ...dns_sd_configs.flatMap(({ names }) => names),
    ...static_configs.flatMap(({ targets }) => targets.map((target) => target.split(':')[0] ?? '')),
  ]);
  expect(hosts).toContain('ml-worker');
  expect(hosts.filter((host) => host !== 'localhost' && !(host in services))).toEqual([]);
});
