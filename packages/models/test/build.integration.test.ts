import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { watch } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { asTextModel } from '../src/model.js';
import { openModelRepository } from '../src/index.js';
import { RECIPES } from '../src/builder/recipes.js';
import { verifyModel } from '../src/builder/verification.js';
import { build, BUILD_MAIN } from './build.js';

// A build is seconds of work for one core, and other test files want the cores as well.
jest.setTimeout(120_000);

let root: string;
let built: string;
let firstReport: readonly string[];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'sluice-build-'));
  built = join(root, 'built');
  firstReport = await build(built);
});

afterAll(() => rm(root, { recursive: true }));

async function digests(directory: string): Promise<string[]> {
  const read = ({ name, version }: { name: string; version: string }): Promise<string> =>
    readFile(join(directory, name, version, 'digests.json'), 'utf8');
  return Promise.all(RECIPES.map(read));
}

describe('building the models', () => {
  it('builds each model and says how near to the original it is', () => {
    expect(firstReport.map((line) => line.split(';')[0])).toEqual([
      'use-lite-en/1 built',
      'use-lite-en-int8/1 built',
      'guesslang/1 built',
    ]);
    for (const line of firstReport) expect(line).toMatch(/largest error \d\.\de-\d+, smallest cosine \d\.\d{6}$/);
  });

  it('makes models that the repository finds', async () => {
    const repository = await openModelRepository(built);
    for (const { name, version } of RECIPES) expect((await repository.find(name, version)).file.name).toBe(name);
    expect(asTextModel(await repository.find('use-lite-en-int8', '1')).file.quantisation).toBe('dynamic');
    expect(asTextModel(await repository.find('guesslang', '1')).file.labels).toHaveLength(54);
  });

  it('leaves what is built as it is', async () => {
    const facts = await stat(join(built, 'use-lite-en/1/model.onnx'));
    expect(await build(built)).toEqual(RECIPES.map(({ name, version }) => `${name}/${version} is up to date`));
    expect((await stat(join(built, 'use-lite-en/1/model.onnx'))).ino).toBe(facts.ino);
  });

  it('gives the same bytes to two processes that build at once, and leaves nothing behind', async () => {
    const shared = join(root, 'shared');
    await Promise.all([build(shared), build(shared)]);
    expect(await digests(shared)).toEqual(await digests(built));
    expect((await readdir(shared)).sort()).toEqual(['guesslang', 'use-lite-en', 'use-lite-en-int8']);
    expect(await build(shared)).toEqual(RECIPES.map(({ name, version }) => `${name}/${version} is up to date`));
  });

  it('builds a damaged or outdated model again, and only that', async () => {
    const directory = join(root, 'damaged');
    await cp(built, directory, { recursive: true });
    await appendFile(join(directory, 'guesslang/1/model.onnx'), 'x');
    const list = join(directory, 'use-lite-en/1/digests.json');
    await writeFile(list, (await readFile(list, 'utf8')).replace(/"stamp": "[0-9a-f]+"/, '"stamp": "older"'));
    expect((await build(directory)).map((line) => line.split(';')[0])).toEqual([
      'use-lite-en/1 built',
      'use-lite-en-int8/1 is up to date',
      'guesslang/1 built',
    ]);
    expect(await digests(directory)).toEqual(await digests(built));
  });

  it('recovers from a build that was killed, and clears its remains an hour later', async () => {
    const directory = join(root, 'killed');
    await mkdir(directory);
    const watcher = watch(directory);
    const begun = once(watcher, 'change');
    const child = spawn(process.execPath, [BUILD_MAIN, directory], { stdio: 'ignore' });
    const ended = once(child, 'exit');
    const [, remains] = (await begun) as [string, string];
    child.kill('SIGKILL');
    await ended;
    watcher.close();
    expect(remains).toMatch(/^\.building-/);

    await build(directory);
    expect(await digests(directory)).toEqual(await digests(built));
    const longAgo = Date.now() / 1000 - 4000;
    await utimes(join(directory, remains), longAgo, longAgo);
    await build(directory);
    expect(await readdir(directory)).not.toContain(remains);
  });

  it('leaves other models of the repository alone', async () => {
    const other = join(built, 'other', '1');
    await mkdir(other, { recursive: true });
    await writeFile(join(other, 'model.onnx'), 'bytes');
    await build(built);
    expect(await readFile(join(other, 'model.onnx'), 'utf8')).toBe('bytes');
  });

  it('fails when a model is further from the original than allowed', async () => {
    const [recipe] = RECIPES;
    if (!recipe) throw new Error('there are no recipes');
    const strict = { ...recipe, tolerance: { maxError: 0, minCosine: recipe.tolerance.minCosine } };
    await expect(verifyModel(built, strict)).rejects.toThrow(
      /^use-lite-en\/1 does not compute what the original does: the largest error is \S+, allowed is 0$/,
    );
  });

  it('fails when a model has other token ids or other outputs than the reference', async () => {
    const [recipe] = RECIPES;
    if (!recipe) throw new Error('there are no recipes');
    const reference = JSON.parse(await readFile(new URL('../reference/use-lite-en.json', import.meta.url), 'utf8')) as {
      cases: { text: string; ids: number[]; output?: string }[];
    };
    const [, first, second] = reference.cases;
    if (!first || !second) throw new Error('the reference has too few cases');
    first.ids = [1, 2, 3];
    second.output = Buffer.from(new Float32Array(512).fill(0.1).buffer).toString('base64');
    const path = join(root, 'wrong.json');
    await writeFile(path, JSON.stringify(reference));
    // n.b. references are found relative to the package's own folder.
    const fromPackage = `../../../../../../../../../../../..${path}`;
    await expect(verifyModel(built, { ...recipe, reference: fromPackage })).rejects.toThrow(
      /the largest error is 0\.\d+, .*; the smallest cosine is .*; 1 texts have other token ids, first "a"/,
    );
  });

  it('fails with the reason when a model cannot be run', async () => {
    const [recipe] = RECIPES;
    if (!recipe) throw new Error('there are no recipes');
    await expect(verifyModel(join(root, 'nowhere'), recipe)).rejects.toThrow(
      'use-lite-en/1 could not be checked: The model repository does not exist',
    );
  });
});
