import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { ROOT } from '../src/paths.js';

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

function manifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8')) as Manifest;
}

it('docs/dependencies.md lists every direct dependency with its version, and nothing else', () => {
  const groups = ['packages', 'apps'].flatMap((group) =>
    readdirSync(join(ROOT, group)).map((name) => join(group, name)),
  );
  const used = ['.', 'scripts', 'benchmarks', ...groups]
    .map(manifest)
    .flatMap(({ dependencies, devDependencies }) => Object.entries({ ...dependencies, ...devDependencies }))
    .filter(([name]) => !name.startsWith('@sluice/'));
  const page = readFileSync(join(ROOT, 'docs', 'dependencies.md'), 'utf8');
  const rows = [...page.matchAll(/^\| (\S+) +\| (\d\S*) +\|/gm)].map(([, name = '', version]) => [name, version]);
  expect(Object.fromEntries(rows)).toEqual(Object.fromEntries(used));
});
