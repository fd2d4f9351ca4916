import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findFreePorts, startLocalServices } from '@sluice/local-services';
import { buildModels } from '@sluice/models';
import { createLogger } from '@sluice/runtime';
import { type AppProcess, type AppName, startApp } from '../app-process.js';
import { call, createTenant, mustCall, type Tenant } from '../client.js';
import { prepareDatabase } from '../database.js';
import { CONFIG_DIR, MODEL_DIR } from '../paths.js';
import { newSecrets } from '../suite.js';
import type { Cluster } from './cluster.js';
import { makeNamespace } from './installation.js';
import type { NamesProxy } from './names-proxy.js';
import { startPrometheus } from './prometheus.js';
import { conditionOf, type Conditions, type Outcome, wantedReplicas, type Watch, watch } from './observation.js';

export interface ScalingOptions {
  readonly cluster: Cluster;
  /** The program. */
  readonly prometheus: string;
  readonly chart: string;
  readonly proxy: NamesProxy;
  readonly folder: string;
  readonly report: (outcome: Outcome) => void;
}

const NAMESPACE = 'scaling';
const WORKER = 'sluice-worker-text';
const MANAGEMENT = `sluice-rabbitmq.${NAMESPACE}:15672`;
const OPS = `sluice-gateway-ops.${NAMESPACE}:9090`;
/** As the chart's values have it. */
const PROMETHEUS = 'prometheus-operated.monitoring:9090';
const PER_REPLICA = { interactive: 2, standard: 5, batch: 10 };
const MAX = 6;
const FALLBACK = 2;
const KEDA = {
  enabled: true,
  minReplicas: 0,
  maxReplicas: MAX,
  pollingIntervalSeconds: 2,
  cooldownSeconds: 10,
  fallbackReplicas: FALLBACK,
  fallbackAfterFailures: 3,
  jobsPerReplica: PER_REPLICA,
  scaleDown: { stabilizationWindowSeconds: 0, pods: 100, periodSeconds: 15 },
  scaleUp: { stabilizationWindowSeconds: 0, percent: 100, pods: 10, periodSeconds: 15 },
};
const PATIENCE_MS = 120_000;

/**
 * KEDA and the HorizontalPodAutoscaler scale a pool of the chart by a real broker's queues, which a real gateway fills
 * and a real worker empties. What runs in the pods is played: the worker is beside the cluster.
 */
export async function checkScaling(options: ScalingOptions): Promise<boolean> {
  const { cluster, chart, proxy, folder, report } = options;
  const services = await startLocalServices({ directory: join(folder, 'services'), keepData: false });
  const apps: AppProcess[] = [];
  const stops: (() => Promise<void>)[] = [];
  try {
    await buildModels({ directory: MODEL_DIR });
    const { environment } = services;
    const management = environment['SLUICE_RABBITMQ_MANAGEMENT_URL'] ?? '';
    const logger = createLogger({ app: 'cluster', level: 'silent' });
    await prepareDatabase({ url: environment['SLUICE_POSTGRES_URL'] ?? '', configDir: CONFIG_DIR, logger });
    const [opsPort = 0, workerPort = 0] = await findFreePorts(2);
    const secrets = newSecrets();
    const start = async (app: AppName, extra: Readonly<Record<string, string>> = {}): Promise<AppProcess> => {
      const started = await startApp({
        app,
        name: app,
        logFile: join(folder, `${app}.log`),
        environment: {
          ...process.env,
          ...environment,
          SLUICE_CONFIG_DIR: CONFIG_DIR,
          SLUICE_MODEL_DIR: MODEL_DIR,
          SLUICE_API_KEY_PEPPER: secrets.pepper,
          SLUICE_ADMIN_KEY: secrets.adminKey,
          SLUICE_PORT: '0',
          ...extra,
        },
      });
      apps.push(started);
      return started;
    };
    await start('results-collector');
    const gateway = await start('api-gateway', { SLUICE_OPS_PORT: String(opsPort) });
    const suite = { url: `http://127.0.0.1:${gateway.port}`, adminKey: secrets.adminKey };
    const tenant = await createTenant(suite, { tenantId: 'scaling', plan: 'demo' });
    const route = (): void => proxy.route(MANAGEMENT, new URL(management).origin);
    route();
    proxy.route(OPS, `http://127.0.0.1:${opsPort}`);
    await install(cluster, { chart, folder, management, keda: KEDA });

    let right = true;
    const note = (outcome: Outcome): void => {
      right &&= outcome.right;
      report(outcome);
    };
    const state = (): Promise<string> => stateOf(cluster);
    const replicas = (count: number) => (value: string) => value.startsWith(`${count} `);
    const reaches = async (step: string, count: number, more: Partial<Watch<string>> = {}): Promise<void> =>
      note(await watch({ step, read: state, accept: replicas(count), timeoutMs: PATIENCE_MS, pauseMs: 1000, ...more }));

    note(
      await watch({
        step: 'KEDA takes the ScaledObject',
        read: async () => conditionOf(await cluster.get<Conditions>('scaledobject', WORKER, NAMESPACE), 'Ready'),
        accept: (value) => value === 'True',
        timeoutMs: PATIENCE_MS,
      }),
    );
    await reaches('no job, no worker', 0);
    await submit(suite.url, tenant, 1);
    await reaches('the first job wakes one worker', 1);
    await submit(suite.url, tenant, 17);
    await reaches('18 jobs, 5 for each worker', wantedReplicas({ standard: 18 }, PER_REPLICA, MAX));
    proxy.route(MANAGEMENT, undefined);
    await reaches('the management API is away: the fallback', FALLBACK, { holdMs: 10_000, never: replicas(0) });
    route();
    await reaches('and is back', 4);
    await annotate(cluster, 'autoscaling.keda.sh/paused=true');
    await submit(suite.url, tenant, 32);
    await reaches('paused: 32 jobs more change nothing', 4, { holdMs: 20_000 });
    await annotate(cluster, 'autoscaling.keda.sh/paused-');
    await reaches('and goes on: 50 jobs, the most workers', MAX);
    const worker = await start('ml-worker');
    await reaches('a worker has done all jobs: down to none after the cooldown', 0, { holdMs: 5000 });
    await worker.stop();
    if (await hasBacklog(opsPort)) {
      const tokens = { source: 'metricsApi', targetWaitSeconds: 10, assumedTokensPerSecond: 10 };
      await install(cluster, { chart, folder, management, keda: { ...KEDA, tokens } });
      await submit(suite.url, tenant, 4, 'word '.repeat(90));
      const backlog = () => mustCall<{ jobs: number; tokens: number }>(`http://127.0.0.1:${opsPort}`, '/backlog/text');
      const jobs = async (): Promise<number> => (await backlog()).jobs;
      note(
        await watch({
          step: 'the gateway tells the backlog',
          read: jobs,
          accept: (n) => n === 4,
          timeoutMs: PATIENCE_MS,
        }),
      );
      const { tokens: waiting } = await backlog();
      const wanted = Math.min(MAX, Math.ceil(waiting / 100));
      await reaches(`4 jobs, which ask for one worker, of ${waiting} tokens, 100 for each`, wanted);

      const ports = [opsPort, workerPort];
      const server = { program: options.prometheus, folder: join(folder, 'prometheus'), ports, namespace: NAMESPACE };
      const prometheus = await startPrometheus(server);
      stops.push(() => prometheus.stop());
      proxy.route(PROMETHEUS, prometheus.url);
      const asked = { source: 'prometheus', targetWaitSeconds: 10, assumedTokensPerSecond: 20 };
      await install(cluster, { chart, folder, management, keda: { ...KEDA, tokens: asked } });
      await reaches('the same by Prometheus, 200 for each', Math.ceil(waiting / 200));
      await start('ml-worker', { SLUICE_OPS_PORT: String(workerPort) });
      note(
        await watch({
          step: 'Prometheus has what the worker does, in tokens per second',
          read: () => prometheus.query('max(sluice_worker_capacity_tokens_per_second{model="use-lite-en"})'),
          accept: ([tokensPerSecond = 0]) => tokensPerSecond > 0,
          timeoutMs: PATIENCE_MS,
        }),
      );
      await reaches('the worker has done all jobs: down to none', 0, { holdMs: 5000 });
    }
    return right;
  } finally {
    await Promise.all([...apps.map((app) => app.kill()), ...stops.map((stop) => stop())]);
    await services.stop();
  }
}

/** `4 (active True, fallback False)`: the replicas asked of the Deployment, and what KEDA says. */
async function stateOf(cluster: Cluster): Promise<string> {
  const { spec } = await cluster.get<{ spec: { replicas: number } }>('deployment', WORKER, NAMESPACE);
  const scaled = await cluster.get<Conditions>('scaledobject', WORKER, NAMESPACE);
  return `${spec.replicas} (active ${conditionOf(scaled, 'Active')}, fallback ${conditionOf(scaled, 'Fallback')})`;
}

async function hasBacklog(port: number): Promise<boolean> {
  const { status } = await call(`http://127.0.0.1:${port}`, '/backlog/text');
  return status === 200;
}

/** Jobs of the class `standard`. */
async function submit(url: string, { key }: Tenant, count: number, input = 'a text'): Promise<void> {
  for (let job = 0; job < count; job++) {
    await mustCall(url, '/v1/jobs', { method: 'POST', key, body: { model: 'use-lite-en', input, class: 'standard' } });
  }
}

async function annotate(cluster: Cluster, annotation: string): Promise<void> {
  await cluster.kubectl(['annotate', 'scaledobject', WORKER, '-n', NAMESPACE, annotation, '--overwrite']);
}

interface Install {
  readonly chart: string;
  readonly folder: string;
  /** Of the broker's management API, with user and password. */
  readonly management: string;
  readonly keda: Readonly<Record<string, unknown>>;
}

async function install(cluster: Cluster, { chart, folder, management, keda }: Install): Promise<void> {
  await makeNamespace(cluster, NAMESPACE);
  const { username, password } = new URL(management);
  const unused = { uri: 'postgres://nowhere', url: 'redis://nowhere', connection_string: 'amqp://nowhere' };
  const data = { ...unused, username, password, apiKeyPepper: 'x'.repeat(16), adminKey: 'x'.repeat(16) };
  const secrets = ['sluice-postgres', 'sluice-redis', 'sluice-rabbitmq', 'sluice-gateway'].map((name) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace: NAMESPACE },
    stringData: data,
  }));
  await cluster.kubectl(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items: secrets }));
  const values = join(folder, 'values.json');
  await writeFile(values, JSON.stringify({ worker: { keda } }));
  const helm = ['upgrade', '--install', 'sluice', chart, '-n', NAMESPACE, '-f', values, '--timeout', '3m'];
  const { code, output } = await cluster.helm(helm);
  if (code !== 0) throw new Error(`helm ${helm.join(' ')}: ${output}`);
}
