import { join } from 'node:path';
import { ROOT } from '../paths.js';

export const CHART = join(ROOT, 'helm', 'sluice');
export const SCHEMAS = join(ROOT, 'helm', 'schemas');
export const MANIFESTS = join(ROOT, 'manifests');
export const LOCK = join(MANIFESTS, 'lock.json');

/** Files of config/ that the chart has copies of. */
export const CONFIG_FILES = ['models.yaml', 'plans.yaml', 'prices.yaml'] as const;
