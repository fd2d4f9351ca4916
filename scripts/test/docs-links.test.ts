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

const FENCED = /^( *)(`{3,}|~{3,})[\s\S]*?^ *\2/gm;

/** Targets of links and images that are paths, or headings of the page itself, without title. What stands in code is no link. */
function relativeLinks(page: string): readonly string[] {
  const prose = page.replace(FENCED, '').replace(/(`+)[^`]+\1/g, '');
  const inline = [...prose.matchAll(/\]\(\s*<?([^)\s>]+)/g)];
  const reference = [...prose.matchAll(/^ {0,3}\[[^\]]+\]:\s*<?([^\s>]+)/gm)];
  return [...inline, ...reference]
    .map(([, target = '']) => decodeURI(target))
    .filter((target) => !/^([a-z][a-z0-9+.-]*:|\/\/)/i.test(target));
}

/** What the headings of a page are reached by: in small letters, without punctuation, spaces as hyphens. */
function anchors(page: string): ReadonlySet<string> {
  const headings = [...page.replace(FENCED, '').matchAll(/^#{1,6} +(.+?) *$/gm)].map(([, heading = '']) => heading);
  const slugs = headings.map((heading) =>
    heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-'),
  );
  return new Set(slugs);
}

async function leadsSomewhere(page: string, link: string): Promise<boolean> {
  const [path = '', fragment] = link.split('#');
  const target = path === '' ? page : join(dirname(page), path);
  if (path.startsWith('/') || !existsSync(target)) return false;
  return fragment === undefined || !target.endsWith('.md') || anchors(await readFile(target, 'utf8')).has(fragment);
}

async function brokenLinks(path: string): Promise<readonly string[]> {
  const links = relativeLinks(await readFile(path, 'utf8'));
  const leads = await Promise.all(links.map((link) => leadsSomewhere(path, link)));
  const broken = links.filter((_, index) => !leads[index]);
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
  expect(relativeLinks(page)).toEqual(['one.md', 'two.png', 'three/#part', '#here', '../four words.md']);
});

it('reaches headings as they are shown', () => {
  const page = ['# A page', '## What it *costs*, and `why`', '```sh', '# no heading', '```'].join('\n');
  expect([...anchors(page)]).toEqual(['a-page', 'what-it-costs-and-why']);
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
