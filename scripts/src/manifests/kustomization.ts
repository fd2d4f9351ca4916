import { parse, stringify } from 'yaml';
import { applyOperations, difference, type Operation } from './json-patch.js';
import { idOf, parseObjects, printObjects, type Json, type KubeObject } from './objects.js';

/** Texts by path within a folder. */
export type Files = Readonly<Record<string, string>>;

interface Kustomization {
  readonly resources?: readonly string[];
  readonly patches?: readonly {
    readonly path: string;
    readonly target?: { readonly kind: string; readonly name: string };
  }[];
}

const HEAD = '# Rendered from helm/sluice by `npm run manifests`; changes here are lost, and a test refuses them.\n';
const KIND = { apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization' } as const;

/** A folder that holds the objects, one file for each component of the suite. */
export function baseFiles(objects: readonly KubeObject[]): Files {
  const files = filesOf(objects);
  return { ...files, 'kustomization.yaml': HEAD + stringify({ ...KIND, resources: Object.keys(files).sort() }) };
}

/**
 * A folder that makes `objects` of those of `base`: what is new stands in files of its own, what differs is patched, what is not there is
 * deleted.
 */
export function overlayFiles(base: readonly KubeObject[], objects: readonly KubeObject[], basePath: string): Files {
  const known = new Map(base.map((object) => [idOf(object), object]));
  const wanted = new Set(objects.map(idOf));
  const added = filesOf(objects.filter((object) => !known.has(idOf(object))));
  const changed = objects.flatMap((object) => {
    const before = known.get(idOf(object));
    const operations = before === undefined ? [] : difference(before as unknown as Json, object as unknown as Json);
    return operations.length === 0 ? [] : [{ object, operations }];
  });
  const deleted = base.filter((object) => !wanted.has(idOf(object)));
  const patches = [
    ...changed.map(({ object, operations }) => patchFile(object, stringify(operations, { lineWidth: 0 }))),
    ...deleted.map((object) => patchFile(object, stringify(deletion(object)))),
  ];
  const kustomization = {
    ...KIND,
    resources: [basePath, ...Object.keys(added).sort()],
    patches: patches.map(({ path, target }) => ({ path, target })),
  };
  return {
    ...added,
    ...Object.fromEntries(patches.map(({ path, text }) => [path, text])),
    'kustomization.yaml': HEAD + stringify(kustomization),
  };
}

/** What kustomize makes of such folders. @throws Error for a patch of an object that is not there. */
export function buildKustomization(folder: Files, base: readonly KubeObject[] = []): readonly KubeObject[] {
  const { resources = [], patches = [] } = parse(folder['kustomization.yaml'] ?? '') as Kustomization;
  const own = resources.filter((path) => path.endsWith('.yaml')).flatMap((path) => parseObjects(folder[path] ?? ''));
  const objects = new Map([...base, ...own].map((object) => [idOf(object), object]));
  for (const { path, target } of patches) {
    const id = `${target?.kind}/${target?.name}`;
    const object = objects.get(id);
    if (!object) throw new Error(`${path} is for ${id}, which is not there`);
    const patch = parse(folder[path] ?? '') as readonly Operation[] | object;
    if (Array.isArray(patch)) {
      const patched = applyOperations(object as unknown as Json, patch as readonly Operation[]);
      objects.set(id, patched as unknown as KubeObject);
    } else objects.delete(id);
  }
  return [...objects.values()];
}

function filesOf(objects: readonly KubeObject[]): Files {
  const byComponent = new Map<string, KubeObject[]>();
  for (const object of objects) {
    const file = `${object.metadata.labels?.['app.kubernetes.io/component'] ?? 'other'}.yaml`;
    byComponent.set(file, [...(byComponent.get(file) ?? []), object]);
  }
  return Object.fromEntries([...byComponent].map(([file, members]) => [file, HEAD + printObjects(members)]));
}

function patchFile(object: KubeObject, text: string) {
  const { kind, metadata } = object;
  const path = `patches/${kind.toLowerCase()}-${metadata.name}.yaml`;
  return { path, text: HEAD + text, target: { kind, name: metadata.name } };
}

function deletion({ apiVersion, kind, metadata: { name, namespace } }: KubeObject) {
  return { $patch: 'delete', apiVersion, kind, metadata: { name, ...(namespace !== undefined && { namespace }) } };
}
