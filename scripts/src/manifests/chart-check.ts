import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { CHART, SCHEMAS } from './places.js';
import { helmTemplate, KUBERNETES, VALUES } from './rendering.js';
import { findTool, run } from './tools.js';

/** Besides what manifests/ is rendered from, one with every option. */
const CHECKED_VALUES = [...Object.values(VALUES), 'tests/everything.yaml'];

/** Lints the chart, runs its unit tests, and validates what it renders of each file of values. @throws Error with what is wrong. */
export async function checkChart(): Promise<void> {
  const helm = await findTool('helm');
  for (const values of CHECKED_VALUES) {
    await run(helm, ['lint', '--strict', '--kube-version', KUBERNETES, '--values', join(CHART, values), CHART]);
  }
  console.log('helm lint: nothing to complain about');
  console.log((await run(await findTool('helm-unittest'), [CHART])).trim());

  const kubeconform = await findTool('kubeconform');
  const schemas = join(SCHEMAS, '{{.ResourceKind}}-{{.ResourceAPIVersion}}.json');
  const folder = await mkdtemp(join(tmpdir(), 'sluice-chart-'));
  try {
    for (const values of CHECKED_VALUES) {
      const rendered = join(folder, basename(values));
      await writeFile(rendered, await helmTemplate(values));
      const summary = await run(kubeconform, ['-strict', '-summary', '-schema-location', schemas, rendered]);
      console.log(`kubeconform, ${values}: ${summary.trim()}`);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}
