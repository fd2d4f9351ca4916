import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findFreePorts } from '@sluice/local-services';
import { makeCertificates } from './certificates.js';
import { createProcesses } from './processes.js';
import { stages } from './stages.js';
import type { Toolbox } from './tools.js';

export interface Ran {
  readonly code: number;
  /** Both streams. */
  readonly output: string;
}

/** A control plane on loopback whose nodes and containers are played by kwok, with KEDA. */
export interface Cluster {
  /** Runs kubectl, with a text as its standard input. */
  kubectl(args: readonly string[], input?: string): Promise<Ran>;
  helm(args: readonly string[]): Promise<Ran>;
  /** An object's present state. @throws Error with what kubectl said. */
  get<T>(kind: string, name: string, namespace: string): Promise<T>;
  stop(): Promise<void>;
}

export interface ClusterOptions {
  readonly tools: Toolbox;
  /** Emptied first; logs stay in it. */
  readonly folder: string;
  /** KEDA asks everything that is not the API server through this HTTP proxy. */
  readonly proxy: string;
}

const READY_TIMEOUT_MS = 180_000;
const NODES = 3;
/** More than the claims of all installations. */
const VOLUMES = 20;

export async function startCluster({ tools: { programs, crds }, folder, proxy }: ClusterOptions): Promise<Cluster> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const ports = await findFreePorts(5);
  const [etcd = 0, peers = 0, api = 0, grpc = 0, adapter = 0] = ports;
  const loopback = 'IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc';
  await makeCertificates(programs.openssl, folder, [
    { name: 'server', subject: '/CN=server', names: loopback },
    { name: 'tls', subject: '/CN=keda', names: loopback },
    { name: 'admin', subject: '/O=system:masters/CN=admin', names: 'DNS:admin' },
    { name: 'aggregator', subject: '/CN=aggregator', names: 'DNS:aggregator' },
  ]);
  const kubeconfig = join(folder, 'kubeconfig');
  await writeFile(kubeconfig, kubeconfigOf(folder, api));
  const processes = createProcesses(folder);

  function run(program: string, args: readonly string[], input?: string): Promise<Ran> {
    return new Promise((resolve) => {
      const options = { env: { ...process.env, KUBECONFIG: kubeconfig }, maxBuffer: 1 << 28 };
      const child = execFile(program, args, options, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
        resolve({ code, output: `${stdout}${stderr}` });
      });
      child.stdin?.end(input);
    });
  }
  const kubectl = (args: readonly string[], input?: string): Promise<Ran> => run(programs.kubectl, args, input);

  async function mustKubectl(args: readonly string[], input?: string): Promise<string> {
    const { code, output } = await kubectl(args, input);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${output}`);
    return output;
  }

  async function ready(what: string, args: readonly string[], expected: RegExp): Promise<void> {
    const until = Date.now() + READY_TIMEOUT_MS;
    for (;;) {
      processes.requireAlive();
      const { code, output } = await kubectl(args);
      if (code === 0 && expected.test(output)) return;
      if (Date.now() > until) throw new Error(`${what} is not ready: ${output}`);
      await sleep(250);
    }
  }

  try {
    processes.start('etcd', programs.etcd, [
      ...['--data-dir', join(folder, 'etcd'), '--unsafe-no-fsync'],
      ...['--listen-client-urls', `http://127.0.0.1:${etcd}`, '--advertise-client-urls', `http://127.0.0.1:${etcd}`],
      ...['--listen-peer-urls', `http://127.0.0.1:${peers}`],
      ...['--initial-advertise-peer-urls', `http://127.0.0.1:${peers}`],
      ...['--initial-cluster', `default=http://127.0.0.1:${peers}`],
    ]);
    processes.start('kube-apiserver', programs['kube-apiserver'], [
      `--etcd-servers=http://127.0.0.1:${etcd}`,
      ...[`--secure-port=${api}`, '--bind-address=127.0.0.1', '--advertise-address=127.0.0.1'],
      ...['--tls-cert-file=server.crt', '--tls-private-key-file=server.key', '--client-ca-file=ca.crt'],
      ...['--service-account-key-file=accounts.pub', '--service-account-signing-key-file=accounts.key'],
      ...['--service-account-issuer=https://kubernetes.default.svc', '--service-cluster-ip-range=10.250.0.0/16'],
      ...['--authorization-mode=RBAC', '--endpoint-reconciler-type=none'],
      ...['--requestheader-client-ca-file=ca.crt', '--requestheader-allowed-names=aggregator'],
      ...['--requestheader-username-headers=X-Remote-User', '--requestheader-group-headers=X-Remote-Group'],
      '--requestheader-extra-headers-prefix=X-Remote-Extra-',
      ...['--proxy-client-cert-file=aggregator.crt', '--proxy-client-key-file=aggregator.key'],
    ]);
    await ready('The API server', ['get', '--raw', '/readyz'], /^ok/);
    processes.start('kube-controller-manager', programs['kube-controller-manager'], [
      ...[`--kubeconfig=${kubeconfig}`, '--leader-elect=false', '--secure-port=0'],
      ...[
        '--service-account-private-key-file=accounts.key',
        '--root-ca-file=ca.crt',
        '--use-service-account-credentials',
      ],
      '--horizontal-pod-autoscaler-sync-period=5s',
    ]);
    processes.start('kube-scheduler', programs['kube-scheduler'], [
      ...[`--kubeconfig=${kubeconfig}`, '--leader-elect=false', '--secure-port=0'],
    ]);
    await mustKubectl(['apply', '--server-side', '-f', crds]);
    await mustKubectl(['apply', '-f', '-'], foundation(adapter));
    await writeFile(join(folder, 'stages.yaml'), stages());
    processes.start('kwok', programs.kwok, [
      ...[`--kubeconfig=${kubeconfig}`, '--config=stages.yaml', '--manage-all-nodes'],
      '--node-lease-duration-seconds=40', // without leases the nodes would count as lost
    ]);
    await mustKubectl(['wait', '--for=condition=Ready', 'node', '--all', '--timeout=120s']);
    await mustKubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s']);
    const keda = { POD_NAMESPACE: 'keda', KEDA_CLUSTER_OBJECT_NAMESPACE: 'keda', WATCH_NAMESPACE: '' };
    processes.start(
      'keda-operator',
      programs['keda-operator'],
      [
        ...[`--kubeconfig=${kubeconfig}`, `--cert-dir=${folder}`, `--ca-dir=${folder}`],
        ...[`--metrics-service-bind-address=127.0.0.1:${grpc}`, '--metrics-bind-address=0'],
        ...['--health-probe-bind-address=0', '--enable-prometheus-metrics=false'],
      ],
      { ...keda, HTTP_PROXY: proxy },
    );
    processes.start(
      'keda-adapter',
      programs['keda-adapter'],
      [
        ...[`--kubeconfig=${kubeconfig}`, `--authentication-kubeconfig=${kubeconfig}`],
        ...[`--authorization-kubeconfig=${kubeconfig}`, `--lister-kubeconfig=${kubeconfig}`],
        ...[`--secure-port=${adapter}`, '--bind-address=127.0.0.1', '--tls-cert-file=tls.crt'],
        ...['--tls-private-key-file=tls.key', `--cert-dir=${folder}`],
        ...[`--metrics-service-address=127.0.0.1:${grpc}`, '--port=0'],
      ],
      keda,
    );
    await ready(
      "KEDA's metrics",
      ['get', 'apiservice', 'v1beta1.external.metrics.k8s.io', '-o', 'jsonpath={.status.conditions[0].status}'],
      /^True/,
    );
  } catch (error) {
    await processes.stop();
    throw error;
  }

  return {
    kubectl,
    helm: (args) => run(programs.helm, args),
    async get<T>(kind: string, name: string, namespace: string) {
      return JSON.parse(await mustKubectl(['get', kind, name, '-n', namespace, '-o', 'json'])) as T;
    },
    stop: () => processes.stop(),
  };
}

function kubeconfigOf(folder: string, port: number): string {
  const at = (file: string): string => join(folder, file);
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      { name: 'local', cluster: { server: `https://127.0.0.1:${port}`, 'certificate-authority': at('ca.crt') } },
    ],
    users: [{ name: 'admin', user: { 'client-certificate': at('admin.crt'), 'client-key': at('admin.key') } }],
    contexts: [{ name: 'local', context: { cluster: 'local', user: 'admin' } }],
    'current-context': 'local',
  });
}

/** Nodes for kwok to play, volumes for claims, and the aggregated API that KEDA's adapter serves, reached as an external name. */
function foundation(adapterPort: number): string {
  const nodes = Array.from({ length: NODES }, (_, index) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: `node-${index + 1}`,
      annotations: { 'kwok.x-k8s.io/node': 'fake' },
      labels: { 'kubernetes.io/hostname': `node-${index + 1}`, 'topology.kubernetes.io/zone': `zone-${index + 1}` },
    },
    status: { allocatable: CAPACITY, capacity: CAPACITY },
  }));
  const volumes = Array.from({ length: VOLUMES }, (_, index) => ({
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: `volume-${index + 1}` },
    spec: {
      storageClassName: 'played',
      capacity: { storage: '1Ti' },
      accessModes: ['ReadWriteOnce', 'ReadWriteMany'],
      hostPath: { path: '/nowhere' },
    },
  }));
  const objects = [
    ...nodes,
    ...volumes,
    {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: { name: 'played', annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
      provisioner: 'kubernetes.io/no-provisioner',
    },
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'keda' } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'keda-adapter', namespace: 'keda' },
      spec: { type: 'ExternalName', externalName: 'localhost', ports: [{ port: adapterPort }] },
    },
    {
      apiVersion: 'apiregistration.k8s.io/v1',
      kind: 'APIService',
      metadata: { name: 'v1beta1.external.metrics.k8s.io' },
      spec: {
        group: 'external.metrics.k8s.io',
        version: 'v1beta1',
        groupPriorityMinimum: 100,
        versionPriority: 100,
        insecureSkipTLSVerify: true,
        service: { name: 'keda-adapter', namespace: 'keda', port: adapterPort },
      },
    },
  ];
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
}

const CAPACITY = { cpu: '32', memory: '128Gi', pods: '200' };
