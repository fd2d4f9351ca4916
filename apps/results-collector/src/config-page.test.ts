import { readFileSync } from 'node:fs';
import { expect, it } from '@jest/globals';
import { environmentSchema } from './config.js';

it('reads exactly the variables that docs/configuration.md lists for this app', () => {
  const page = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8');
  const [, section = ''] = page.split('\n## results-collector\n');
  const [table = ''] = section.split('\n## ');
  const documented = [...table.matchAll(/^\| `(SLUICE_\w+)`/gm)].map(([, name]) => name);
  expect(documented.sort()).toEqual(Object.keys(environmentSchema.shape).sort());
});
