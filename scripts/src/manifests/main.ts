import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { checkChart } from './chart-check.js';
import { readFolder } from './lock.js';
import { CONFIG_DIR } from '../paths.js';
import { CHART, CONFIG_FILES, LOCK, MANIFESTS } from './places.js';
import { renderManifests, type Rendered } from './rendering.js';

/*
npm run manifests             renders manifests/ from helm/sluice, which gets the configuration of config/
npm run manifests -- --check  lints and tests the chart, and compares; changes nothing
*/
const check = process.argv.slice(2).includes('--check');

try {
  if (check) await checkChart();
  else for (const file of CONFIG_FILES) await copyFile(join(CONFIG_DIR, file), join(CHART, 'files', 'config', file));
  const rendered = await renderManifests();
  if (check) await compare(rendered);
  else await write(rendered);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

async function write({ files, lock }: Rendered): Promise<void> {
  await rm(join(MANIFESTS, 'base'), { recursive: true, force: true });
  await rm(join(MANIFESTS, 'overlays'), { recursive: true, force: true });
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(MANIFESTS, path)), { recursive: true });
    await writeFile(join(MANIFESTS, path), text);
  }
  await writeFile(LOCK, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`${Object.keys(files).length} files in manifests/`);
}

async function compare({ files }: Rendered): Promise<void> {
  const { 'README.md': _readme, 'lock.json': _lock, ...committed } = await readFolder(MANIFESTS);
  const paths = [...new Set([...Object.keys(files), ...Object.keys(committed)])].sort();
  const different = paths.filter((path) => files[path] !== committed[path]);
  if (different.length > 0) throw new Error(`not as rendered, run \`npm run manifests\`: ${different.join(', ')}`);
  console.log(`manifests/ is what helm/sluice renders (${paths.length} files)`);
}
