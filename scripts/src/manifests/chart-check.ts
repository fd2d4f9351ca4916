import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CHART, SCHEMAS } from './places.js';
import { helmTemplate, KUBERNETES, VALUES } from './rendering.js';
import { findTool, run } from './tools.js';

/** Lints the chart, runs its unit tests, and validates what it renders of each file of values. @throws Error with what is wrong. */
export async function checkChart(): Promise<void> {
  const helm = await findTool('helm');
  for (const values of Object.values(VALUES)) {
    await run(helm, ['lint', '--strict', '--kube-version', KUBERNETES, '--values', join(CHART, values), CHART]);
  }
  console.log('helm lint: nothing to complain about');
  console.log((await run(await findTool('helm-unittest'), [CHART])).trim());

  const kubeconform = await findTool('kubeconform');
  const schemas = join(SCHEMAS, '{{.ResourceKind}}-{{.ResourceAPIVersion}}.json');
  const folder = await mkdtemp(join(tmpdir(), 'sluice-chart-'));
  try {
    for (const values of Object.values(VALUES)) {
      const rendered = join(folder, values);
      await writeFile(rendered, await helmTemplate(values));
      const summary = await run(kubeconform, ['-strict', '-summary', '-schema-location', schemas, rendered]);
      console.log(`kubeconform, ${values}: ${summary.trim()}`);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}
