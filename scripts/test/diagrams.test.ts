import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { drawDiagrams } from '../src/diagrams.js';
import { ROOT } from '../src/paths.js';

it('docs/images shows what its sources say; `npm run diagrams -w scripts` draws it anew', async () => {
  const diagrams = await drawDiagrams(join(ROOT, 'docs', 'images'));
  expect(diagrams.length).toBeGreaterThan(0);
  const stale = await Promise.all(
    diagrams.map(async ({ path, svg }) => ((await readFile(path, 'utf8').catch(() => '')) === svg ? [] : [path])),
  );
  expect(stale.flat()).toEqual([]);
});
