import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const LOCAL = join(ROOT, '.local');
export const MODEL_DIR = join(LOCAL, 'models');
export const CONFIG_DIR = join(ROOT, 'config');
export const EXAMPLE_DATA = join(ROOT, 'examples', 'data');

/** The compiled entry of an app. */
export function appEntry(app: string): string {
  return fileURLToPath(import.meta.resolve(`@sluice/${app}/dist/main.js`));
}
