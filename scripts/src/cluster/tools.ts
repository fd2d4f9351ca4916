import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Programs that the check runs, and how each can be had. Versions are those that it was last run with. */
export const TOOLS = {
  etcd: 'Debian: apt-get install etcd-server (3.4)',
  kubectl: 'https://kubernetes.io/docs/tasks/tools (1.32)',
  openssl: 'Debian: apt-get install openssl',
  prometheus: 'Debian: apt-get install prometheus (2.42)',
  'kube-apiserver': 'a release of Kubernetes, or go build ./cmd/kube-apiserver in its sources (1.34)',
  'kube-controller-manager': 'as kube-apiserver',
  'kube-scheduler': 'as kube-apiserver',
  kwok: 'go install sigs.k8s.io/kwok/cmd/kwok@v0.8.0',
  helm: 'go install helm.sh/helm/v3/cmd/helm@v3.22.0',
  'keda-operator': 'go build -o keda-operator ./cmd/operator in the sources of github.com/kedacore/keda/v2 (2.20.2)',
  'keda-adapter': 'go build -o keda-adapter ./cmd/adapter in the same',
} as const;
export type Tool = keyof typeof TOOLS;
export type Tools = Readonly<Record<Tool, string>>;

const CRDS =
  'copies of all files in config/crd/bases of KEDA, of PodMonitor, ServiceMonitor and PrometheusRule of the Prometheus Operator, ' +
  'and of HTTPRoute of the Gateway API';

export interface Toolbox {
  readonly programs: Tools;
  /** Folder of the CustomResourceDefinitions of the operators that the chart can use. */
  readonly crds: string;
}

/**
 * Finds every program in `folder` or on the PATH, and `folder/crds`.
 *
 * @throws Error naming all that is missing and how it can be had.
 */
export function findTools(folder: string | undefined, path: string): Toolbox {
  const folders = [...(folder === undefined ? [] : [folder]), ...path.split(delimiter)].filter((name) => name !== '');
  const found = Object.keys(TOOLS).map((tool) => [tool, folders.map((at) => join(at, tool)).find(isProgram)] as const);
  const missing = found.filter(([, at]) => at === undefined).map(([tool]) => `  ${tool}: ${TOOLS[tool as Tool]}`);
  const crds = folder === undefined ? undefined : join(folder, 'crds');
  if (crds === undefined || !existsSync(crds)) missing.push(`  the folder crds in SLUICE_CLUSTER_TOOLS: ${CRDS}`);
  if (missing.length > 0 || crds === undefined) {
    throw new Error(`Missing on the PATH and in SLUICE_CLUSTER_TOOLS:\n${missing.join('\n')}`);
  }
  return { programs: Object.fromEntries(found) as Tools, crds };
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
