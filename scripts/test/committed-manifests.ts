import { buildKustomization, type Files } from '../src/manifests/kustomization.js';
import { readFolder } from '../src/manifests/lock.js';
import type { KubeObject } from '../src/manifests/objects.js';
import { MANIFESTS } from '../src/manifests/places.js';

export const VARIANTS = ['base', 'development', 'production'] as const;
export type Variant = (typeof VARIANTS)[number];

/** What manifests/ holds and comes to. */
export interface Manifests {
  /** But for the README and the lock. */
  readonly files: Files;
  readonly objects: Readonly<Record<Variant, readonly KubeObject[]>>;
}

export interface Variable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: { readonly secretKeyRef?: { readonly name: string; readonly key: string } };
}
export interface Container {
  readonly env?: readonly Variable[];
  readonly securityContext?: object;
}
export interface Pod {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly serviceAccountName?: string;
  readonly securityContext?: object;
  readonly terminationGracePeriodSeconds?: number;
  readonly volumes?: readonly { readonly configMap?: { readonly name: string } }[];
}

export async function readManifests(): Promise<Manifests> {
  const { 'README.md': _readme, 'lock.json': _lock, ...files } = await readFolder(MANIFESTS);
  const base = buildKustomization(within(files, 'base'));
  return {
    files,
    objects: {
      base,
      development: buildKustomization(within(files, 'overlays/development'), base),
      production: buildKustomization(within(files, 'overlays/production'), base),
    },
  };
}

/** The pod that each object makes, if it makes one. */
export function podOf(object: KubeObject): Pod | undefined {
  const { template } = (object['spec'] ?? {}) as { readonly template?: { readonly spec: Pod } };
  return template?.spec;
}

function within(files: Files, folder: string): Files {
  const paths = Object.keys(files).filter((path) => path.startsWith(`${folder}/`));
  return Object.fromEntries(paths.map((path) => [path.slice(folder.length + 1), files[path] ?? '']));
}
