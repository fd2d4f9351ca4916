import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { idOf } from '../src/manifests/objects.js';
import { MODEL_DIR } from '../src/paths.js';
import { podOf, readManifests, type Variable } from './committed-manifests.js';
import type { Isolated } from './isolated-suite.js';

export const ADMIN_KEY = 'the-admin-key-of-this-test';
const SECRETS: Readonly<Record<string, string>> = { apiKeyPepper: 'the-pepper-of-this-test', adminKey: ADMIN_KEY };

/** The objects of manifests/ whose programs a test runs. */
export const WORKLOADS = {
  'results-collector': 'Deployment/sluice-collector',
  'ml-worker': 'Deployment/sluice-worker-text',
  'api-gateway': 'Deployment/sluice-gateway',
} as const;

export interface ChartEnvironment {
  /** Of the container of the object whose id begins so. Only what a container has of its own is put in place. */
  of(id: string): Readonly<Record<string, string>>;
}

/** Writes the files of the chart's ConfigMap to a folder and reads what environment the chart gives its programs. */
export async function chartEnvironment(isolated: Isolated, folder: string): Promise<ChartEnvironment> {
  const { base } = (await readManifests()).objects;
  const config = base.find((object) => idOf(object) === 'ConfigMap/sluice-config');
  for (const [file, text] of Object.entries((config?.['data'] ?? {}) as Readonly<Record<string, string>>)) {
    await writeFile(join(folder, file), text);
  }
  const ofThisMachine: Readonly<Record<string, string>> = {
    SLUICE_HOST: '127.0.0.1',
    SLUICE_PORT: '0',
    SLUICE_OPS_HOST: '127.0.0.1',
    SLUICE_OPS_PORT: '0',
    SLUICE_CONFIG_DIR: folder,
    SLUICE_MODEL_DIR: MODEL_DIR,
    SLUICE_CALIBRATION_DIR: join(folder, 'calibration'),
    ...isolated.environment,
  };
  const valueOf = ({ name, value, valueFrom }: Variable): string =>
    ofThisMachine[name] ?? value ?? SECRETS[valueFrom?.secretKeyRef?.key ?? ''] ?? 'pod-1';
  return {
    of(id) {
      const object = base.find((each) => idOf(each).startsWith(id));
      const [container] = (object && podOf(object)?.containers) ?? [];
      const given = (container?.env ?? []).map((variable) => [variable.name, valueOf(variable)] as const);
      return { PATH: process.env['PATH'] ?? '', ...Object.fromEntries(given) };
    },
  };
}
