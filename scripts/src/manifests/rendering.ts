import { join } from 'node:path';
import { fileDigests, chartDigest, objectsDigest, type Lock } from './lock.js';
import { baseFiles, overlayFiles, type Files } from './kustomization.js';
import { parseObjects, withoutHelm, type KubeObject } from './objects.js';
import { CHART } from './places.js';
import { findTool, run } from './tools.js';

/** Kubernetes that is rendered for; that of helm/schemas. */
export const KUBERNETES = '1.34.0';
/** The base, and the overlays, by the values they are rendered from. */
export const VALUES = {
  base: 'values.yaml',
  development: 'values-development.yaml',
  production: 'values-production.yaml',
} as const;

/** What needs Helm to happen: hooks run as part of a release, and `helm test`. */
const WITHOUT_HELM = ['--set', 'migration.hook=false', '--set', 'test.enabled=false'];

/** The texts of manifests/ but for the lock, and the lock. */
export interface Rendered {
  readonly files: Files;
  readonly lock: Lock;
}

/** Renders the chart's three sets of values. */
export async function renderManifests(): Promise<Rendered> {
  const base = await renderValues(VALUES.base);
  const development = await renderValues(VALUES.development);
  const production = await renderValues(VALUES.production);
  const files = {
    ...within('base', baseFiles(base)),
    ...within('overlays/development', overlayFiles(base, development, '../../base')),
    ...within('overlays/production', overlayFiles(base, production, '../../base')),
  };
  return {
    files,
    lock: {
      helm: (await run(await findTool('helm'), ['version', '--short'])).trim(),
      kubernetes: KUBERNETES,
      chart: await chartDigest(CHART),
      objects: {
        base: objectsDigest(base),
        development: objectsDigest(development),
        production: objectsDigest(production),
      },
      files: fileDigests(files),
    },
  };
}

/** The text that Helm renders of a file of values. */
export async function helmTemplate(values: string, more: readonly string[] = []): Promise<string> {
  const place = ['sluice', CHART, '--namespace', 'sluice', '--kube-version', KUBERNETES];
  return run(await findTool('helm'), ['template', ...place, '--values', join(CHART, values), ...more]);
}

async function renderValues(values: string): Promise<readonly KubeObject[]> {
  return parseObjects(await helmTemplate(values, WITHOUT_HELM)).map(withoutHelm);
}

function within(folder: string, files: Files): Files {
  return Object.fromEntries(Object.entries(files).map(([path, text]) => [`${folder}/${path}`, text]));
}
