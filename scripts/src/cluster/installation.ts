import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from '../paths.js';
import type { Cluster } from './cluster.js';
import { acceptances, type Outcome, refusals, watch } from './observation.js';

interface Workloads {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly spec: { readonly replicas?: number };
    readonly status?: { readonly readyReplicas?: number };
  }[];
}

const PATIENCE_MS = 180_000;

/** A namespace that admits only pods without any right that they do not need. */
export async function makeNamespace(cluster: Cluster, name: string): Promise<void> {
  const labels = {
    'pod-security.kubernetes.io/enforce': 'restricted',
    'pod-security.kubernetes.io/warn': 'restricted',
  };
  await cluster.kubectl(
    ['apply', '-f', '-'],
    JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } }),
  );
}

/** The chart's own values, the values files beside it, and those of its tests, each with what `helm template` makes of it. */
export async function checkRendered(cluster: Cluster, chart: string): Promise<readonly Outcome[]> {
  const version = await versionOf(cluster);
  const files = [...(await valuesOf(chart)), ...(await valuesOf(join(chart, 'tests')))];
  const outcomes: Outcome[] = [];
  for (const file of files) {
    const namespace = `rendered-${outcomes.length + 1}`;
    await makeNamespace(cluster, namespace);
    const template = ['template', 'sluice', chart, '--kube-version', version, '-n', namespace, '-f', file];
    const rendered = await cluster.helm(template);
    const step = `${file.slice(chart.length + 1)} is accepted by the API server`;
    if (rendered.code !== 0) outcomes.push({ step, right: false, seen: rendered.output });
    else outcomes.push(await applied(cluster, { step, namespace, text: rendered.output }));
    await cluster.kubectl(['delete', 'namespace', namespace, '--wait=false']);
  }
  return outcomes;
}

/** n.b. `helm template` does not ask the API server, and takes it for an old one. */
export async function versionOf(cluster: Cluster): Promise<string> {
  const { output } = await cluster.kubectl(['get', '--raw', '/version']);
  return (JSON.parse(output) as { readonly gitVersion: string }).gitVersion;
}

async function valuesOf(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder).catch(() => []);
  return names
    .filter((name) => /^(values(-\w+)?|two-pools|everything)\.yaml$/.test(name))
    .map((name) => join(folder, name));
}

interface Applied {
  readonly step: string;
  readonly namespace: string;
  readonly text: string;
}

async function applied(cluster: Cluster, { step, namespace, text }: Applied): Promise<Outcome> {
  const { code, output } = await cluster.kubectl(['apply', '--server-side', '-n', namespace, '-f', '-'], text);
  const problems = refusals(output);
  const right = code === 0 && problems.length === 0;
  return { step, right, seen: right ? `${acceptances(output)} objects` : problems.join('\n') };
}

/** Each overlay of `manifests/`, as `kubectl apply --kustomize` renders it. */
export async function checkManifests(cluster: Cluster): Promise<readonly Outcome[]> {
  const overlays = join(ROOT, 'manifests', 'overlays');
  const outcomes: Outcome[] = [];
  for (const name of await readdir(overlays).catch(() => [])) {
    const step = `manifests/overlays/${name} is accepted by the API server`;
    const { code, output: text } = await cluster.kubectl(['kustomize', join(overlays, name)]);
    if (code !== 0) outcomes.push({ step, right: false, seen: text });
    else outcomes.push(await applyOverlay(cluster, { step, namespace: 'sluice', text }));
  }
  return outcomes;
}

async function applyOverlay(cluster: Cluster, overlay: Applied): Promise<Outcome> {
  await makeNamespace(cluster, overlay.namespace);
  const outcome = await applied(cluster, overlay);
  await cluster.kubectl(['delete', 'namespace', overlay.namespace, '--wait=true', '--timeout=120s']);
  return outcome;
}

/** The pods that the controllers make of every Deployment and StatefulSet pass admission and are ready. */
export function allReady(cluster: Cluster, namespace: string, step: string): Promise<Outcome> {
  return watch({
    step,
    timeoutMs: PATIENCE_MS,
    read: async () => {
      const { output } = await cluster.kubectl(['get', 'deployments,statefulsets', '-n', namespace, '-o', 'json']);
      const { items } = JSON.parse(output) as Workloads;
      const lacking = items.filter(({ spec, status }) => (status?.readyReplicas ?? 0) !== (spec.replicas ?? 1));
      return items.length > 0 && lacking.length === 0
        ? `all ${items.length} ready`
        : `not ready: ${lacking.map(({ metadata }) => metadata.name).join(', ')}`;
    },
    accept: (value) => value.startsWith('all'),
  });
}

/** Install, upgrade, roll back and uninstall a release, hooks included, with nothing left behind. */
export async function checkLifecycle(cluster: Cluster, chart: string): Promise<readonly Outcome[]> {
  const namespace = 'lifecycle';
  await makeNamespace(cluster, namespace);
  const helm = async (step: string, ...args: readonly string[]): Promise<Outcome> => {
    const { code, output } = await cluster.helm([...args, '-n', namespace, '--timeout', '3m']);
    return { step, right: code === 0 && !output.includes('would violate'), seen: code === 0 ? 'done' : output };
  };
  const values = ['-f', join(chart, 'values-development.yaml')];
  const replicas = async (): Promise<number | undefined> => {
    const { spec } = await cluster.get<{ spec: { replicas?: number } }>('deployment', 'sluice-gateway', namespace);
    return spec.replicas;
  };
  const outcomes = [await helm('helm install', 'install', 'sluice', chart, ...values)];
  outcomes.push(await allReady(cluster, namespace, 'every pod passes the restricted admission and is ready'));
  const before = await replicas();
  outcomes.push(await helm('helm upgrade', 'upgrade', 'sluice', chart, ...values, '--set', 'gateway.replicas=4'));
  const after = await replicas();
  outcomes.push(await allReady(cluster, namespace, 'every pod of the upgrade is ready'));
  const scaled = ['--set', 'gateway.replicas=4', '--set', 'gateway.autoscaling.enabled=true'];
  outcomes.push(await helm('helm upgrade to an autoscaler', 'upgrade', 'sluice', chart, ...values, ...scaled));
  const kept = await replicas();
  outcomes.push({ step: 'an autoscaler takes over the gateways there are', right: kept === 4, seen: String(kept) });
  outcomes.push(await helm('helm rollback', 'rollback', 'sluice', '1'));
  const back = await replicas();
  const seen = `${before} → ${after} → ${back}`;
  outcomes.push({
    step: 'the upgrade and the rollback change the gateways',
    right: after === 4 && back === before,
    seen,
  });
  outcomes.push(await helm('helm uninstall', 'uninstall', 'sluice', '--wait'));
  const { output } = await cluster.kubectl(['get', 'deployments,services,configmaps', '-n', namespace, '-o', 'name']);
  const left = output.split('\n').filter((name) => name.includes('sluice'));
  outcomes.push({ step: 'nothing is left', right: left.length === 0, seen: left.join(', ') || 'nothing' });
  await cluster.kubectl(['delete', 'namespace', namespace, '--wait=false']);
  return outcomes;
}
