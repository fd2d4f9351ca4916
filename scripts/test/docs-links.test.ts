import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { expect, it } from '@jest/globals';
import { ROOT } from '../src/paths.js';

/** Every page of the repository; not those of libraries, builds and hidden folders. */
async function pages(directory: string): Promise<readonly string[]> {
  const entries = (await readdir(directory, { withFileTypes: true })).filter(
    ({ name }) => !name.startsWith('.') && name !== 'node_modules' && name !== 'dist',
  );
  const found = entries.map(async (entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return pages(path);
    return entry.name.endsWith('.md') ? [path] : [];
  });
  return (await Promise.all(found)).flat();
}

/** Targets of links and images that are paths, without `#fragment` and title. What stands in code is no link. */
function relativeLinks(page: string): readonly string[] {
  const prose = page.replace(/^( *)(`{3,}|~{3,})[\s\S]*?^ *\2/gm, '').replace(/(`+)[^`]+\1/g, '');
  const inline = [...prose.matchAll(/\]\(\s*<?([^)\s>]+)/g)];
  const reference = [...prose.matchAll(/^ {0,3}\[[^\]]+\]:\s*<?([^\s>]+)/gm)];
  return [...inline, ...reference]
    .map(([, target = '']) => decodeURI(target.replace(/#.*$/, '')))
    .filter((target) => target !== '' && !/^([a-z][a-z0-9+.-]*:|\/\/)/i.test(target));
}

async function brokenLinks(path: string): Promise<readonly string[]> {
  const links = relativeLinks(await readFile(path, 'utf8'));
  const broken = links.filter((link) => link.startsWith('/') || !existsSync(join(dirname(path), link)));
  return broken.map((link) => `${relative(ROOT, path)} → ${link}`);
}

it('finds links of each form, and none in code', () => {
  const page = [
    '[a](one.md) ![b](<two.png> "title") [c](three/#part) [d][four] [e](https://example.org/x.md) [f](#here)',
    '`[g](code.md)`',
    '```md',
    '[h](fence.md)',
    '```',
    '[four]: ../four%20words.md',
  ].join('\n');
  expect(relativeLinks(page)).toEqual(['one.md', 'two.png', 'three/', '../four words.md']);
});

it('leads from every page only to what exists', async () => {
  const found = await pages(ROOT);
  expect(found.map((path) => relative(ROOT, path))).toEqual(
    expect.arrayContaining(['README.md', join('docs', 'errors.md'), join('packages', 'models', 'README.md')]),
  );
  expect((await Promise.all(found.map(brokenLinks))).flat()).toEqual([]);
});

it('has a README in every package and app, as the first page says', async () => {
  const groups = ['packages', 'apps'].map(async (group) =>
    (await readdir(join(ROOT, group))).map((name) => join(group, name, 'README.md')),
  );
  const readmes = (await Promise.all(groups)).flat();
  expect(readmes.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
});
