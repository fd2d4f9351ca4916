import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { modelsFileSchema, type ModelsFile } from '@sluice/contracts';
import { openModelRepository } from '@sluice/models';
import { createPoolLoader, type PoolLoader } from '../src/models/pool-loader.js';
import { writeTinyModel } from './tiny-model.js';

let root: string;
let loader: PoolLoader;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sluice-pool-'));
  await writeTinyModel(root);
  loader = createPoolLoader({ pool: 'text', repository: await openModelRepository(root) });
});

afterEach(() => rm(root, { recursive: true }));

const fileOf = (models: object): ModelsFile => modelsFileSchema.parse({ pools: { text: {}, other: {} }, models });
const tiny = (fields: object = {}) => ({ pool: 'text', repository: 'tiny', version: '1', ...fields });
const keysOf = ({ versions }: { readonly versions: readonly { readonly key: string }[] }) =>
  versions.map(({ key }) => key).sort();

describe('what a pool serves', () => {
  it('is each version of its models once, and nothing of other pools', async () => {
    await writeTinyModel(root, { version: '2' });
    const canary = { version: '2', percent: 5 };
    const { served, problems } = await loader.load(
      fileOf({ a: tiny(), b: tiny({ canary }), c: { ...tiny(), pool: 'other' } }),
    );
    expect([...served.models.keys()]).toEqual(['a', 'b']);
    expect(keysOf(served)).toEqual(['tiny/1', 'tiny/2']);
    expect(served.models.get('b')?.canary).toMatchObject({ percent: 5, stickyBy: 'tenant', served: { key: 'tiny/2' } });
    expect(problems).toEqual([]);
  });

  it('has a shadow beside it that no job is answered by, and does without one that is wrong', async () => {
    await writeTinyModel(root, { version: '2' });
    await writeTinyModel(root, { version: '3', maxInputTokens: 5 });
    const shadow = (version: string) => ({ shadow: { version, percent: 5, tolerance: 0.1 } });
    const { served, problems } = await loader.load(fileOf({ a: tiny(shadow('2')), b: tiny(shadow('3')) }));
    expect(keysOf(served)).toEqual(['tiny/1']);
    expect(served.models.get('a')?.shadow).toMatchObject({ percent: 5, tolerance: 0.1, served: { key: 'tiny/2' } });
    expect(served.models.get('b')).toEqual({ main: served.models.get('b')?.main });
    expect(problems).toEqual([expect.stringMatching(/^The shadow of b cannot be used: tiny\/3 .* takes 5 tokens/)]);
    await writeFile(join(root, 'tiny', '2', 'notes.txt'), 'a change');
    const again = await loader.reload(fileOf({ a: tiny(shadow('2')) }), served);
    expect(again.served.models.get('a')?.shadow?.served.key).toBe('tiny/2~1');
  });

  it.each(['canary', 'shadow'])('is the main version alone while its %s is wrong', async (role) => {
    const side = { version: '2', percent: 5, ...(role === 'shadow' && { tolerance: 0.1 }) };
    const { served, problems } = await loader.load(fileOf({ a: tiny({ [role]: side }) }));
    expect(served.models.get('a')).toEqual({ main: expect.objectContaining({ key: 'tiny/1' }) });
    expect(problems).toEqual([`The ${role} of a cannot be used: tiny/2/model.yaml cannot be read`]);
  });

  it('has no shadows where there can be none, and says why', async () => {
    await writeTinyModel(root, { version: '2' });
    const repository = await openModelRepository(root);
    const on = createPoolLoader({ pool: 'text', repository, noShadows: 'this is a graphics card' });
    const shadow = { version: '2', percent: 5, tolerance: 0.1 };
    const { served, problems } = await on.load(fileOf({ a: tiny({ shadow }), b: tiny() }));
    expect(served.models.get('a')).not.toHaveProperty('shadow');
    expect(problems).toEqual(['The shadow of a cannot be used: this is a graphics card']);
  });

  it('is the main version alone while its canary cannot be loaded', async () => {
    await writeTinyModel(root, { version: '2' });
    const refused = new Map([[join(root, 'tiny', '2'), 'it is no model']]);
    const file = fileOf({ a: tiny({ canary: { version: '2', percent: 5 } }) });
    const { served, problems } = await loader.load(file, refused);
    expect(keysOf(served)).toEqual(['tiny/1']);
    expect(problems).toEqual(['The canary of a cannot be used: tiny/2 cannot be loaded: it is no model']);
  });

  it('is refused with all that is wrong when anything is, at first', async () => {
    const file = fileOf({ a: tiny({ version: '8' }), b: tiny({ version: '9' }), c: tiny() });
    await expect(loader.load(file)).rejects.toMatchObject({
      code: 'model_unavailable',
      message: 'tiny/8/model.yaml cannot be read; tiny/9/model.yaml cannot be read',
    });
    await expect(loader.load(fileOf({}))).rejects.toThrow('No model belongs to the pool "text".');
  });

  it('shares one tokenizer among versions that have the same', async () => {
    await writeTinyModel(root, { version: '2' });
    const { served } = await loader.load(fileOf({ a: tiny({ canary: { version: '2', percent: 5 } }) }));
    const routes = served.models.get('a');
    expect(routes?.canary?.served.tokenizer).toBe(routes?.main.tokenizer);
  });
});

describe('a pool that is loaded anew', () => {
  it('has the same keys while no file has changed', async () => {
    const { served } = await loader.load(fileOf({ a: tiny() }));
    const again = await loader.reload(
      fileOf({ a: tiny({ canary: { version: '1', percent: 5 }, version: 'latest' }) }),
      served,
    );
    expect(again.served.models.get('a')).toEqual({ main: served.models.get('a')?.main });
  });

  it('has new models and versions, and not those that are gone', async () => {
    const { served } = await loader.load(fileOf({ a: tiny({ version: 'latest' }), b: tiny() }));
    await writeTinyModel(root, { version: '2' });
    const again = await loader.reload(fileOf({ a: tiny({ version: 'latest' }), c: tiny() }), served);
    expect([...again.served.models.keys()]).toEqual(['a', 'c']);
    expect(keysOf(again.served)).toEqual(['tiny/1', 'tiny/2']);
    expect(again.served.models.get('a')?.main.model.version).toBe('2');
  });

  it('keeps what it has of a model that cannot be served as it should, and says why', async () => {
    const { served } = await loader.load(fileOf({ a: tiny(), b: tiny() }));
    await writeTinyModel(root, { version: '2' });
    const description = join(root, 'tiny', '2', 'model.yaml');
    const other = (await readFile(description, 'utf8')).replace(/dimensions: 1\b/, 'dimensions: 2');
    await writeFile(description, other);
    await writeTinyModel(root, { version: '3' });
    const file = fileOf({ a: tiny({ version: '2' }), b: tiny({ version: '3' }), c: tiny({ version: '4' }) });
    const again = await loader.reload(file, served);
    expect(again.served.models.get('a')).toBe(served.models.get('a'));
    expect(again.served.models.get('b')?.main.key).toBe('tiny/3');
    expect(again.served.models.has('c')).toBe(false);
    expect(again.problems).toEqual([
      expect.stringMatching(/^tiny\/2 cannot take the place of version 1 of a .* has 2 output dimensions instead of 1/),
      'tiny/4/model.yaml cannot be read',
    ]);
  });

  it('goes back to a version that takes less, as a program does that is started then', async () => {
    await writeTinyModel(root, { version: '2', maxInputTokens: 2_000 });
    const { served } = await loader.load(fileOf({ a: tiny({ version: '2' }), b: tiny({ version: 'latest' }) }));
    expect(keysOf(served)).toEqual(['tiny/2']);
    await rm(join(root, 'tiny', '2'), { recursive: true });
    await writeTinyModel(root, { version: '3' });
    const file = fileOf({ a: tiny({ version: '1' }), b: tiny({ version: 'latest' }) });
    const again = await loader.reload(file, served);
    expect([keysOf(again.served), again.problems]).toEqual([['tiny/1', 'tiny/3'], []]);
    expect(keysOf((await loader.load(file)).served)).toEqual(keysOf(again.served));
  });

  it.each(['canary', 'shadow'] as const)('keeps the %s that it has while another is wrong', async (role) => {
    const fileWith = (version: string, percent: number, main = '1') =>
      fileOf({
        a: tiny({ version: main, [role]: { version, percent, ...(role === 'shadow' && { tolerance: 0.1 }) } }),
      });
    for (const version of ['2', '4']) await writeTinyModel(root, { version });
    const { served } = await loader.load(fileWith('2', 5));
    const before = served.models.get('a')?.[role];
    const again = await loader.reload(fileWith('3', 50, '4'), served);
    expect(again.served.models.get('a')?.main.key).toBe('tiny/4');
    expect(again.served.models.get('a')?.[role]).toBe(before);
    expect(again.problems).toEqual([`The ${role} of a cannot be used: tiny/3/model.yaml cannot be read`]);
  });

  it.each<[string, () => Promise<unknown>, string]>([
    ['whose files are gone', () => rm(join(root, 'tiny', '2'), { recursive: true }), '1'],
    ['whose files have changed', () => rm(join(root, 'tiny', '2', 'model.onnx')), '1'],
    ['that is the main version now', async () => undefined, '2'],
    ['that does not take its jobs any more', () => writeTinyModel(root, { version: '4', maxInputTokens: 2000 }), '4'],
  ])('does not keep a canary %s', async (_what, change, main) => {
    await writeTinyModel(root, { version: '2' });
    const fileWith = (version: string, of = '1') =>
      fileOf({ a: tiny({ version: of, canary: { version, percent: 5 } }) });
    const { served } = await loader.load(fileWith('2'));
    await change();
    const again = await loader.reload(fileWith('3', main), served);
    expect(again.served.models.get('a')).toEqual({ main: expect.objectContaining({ key: `tiny/${main}` }) });
    expect(again.problems).toEqual(['The canary of a cannot be used: tiny/3/model.yaml cannot be read']);
  });

  it('passes over a latest version that is copied half', async () => {
    const { served } = await loader.load(fileOf({ a: tiny({ version: 'latest' }) }));
    await mkdir(join(root, 'tiny', '2'));
    await copyFile(join(root, 'tiny', '1', 'model.onnx'), join(root, 'tiny', '2', 'model.onnx'));
    const again = await loader.reload(fileOf({ a: tiny({ version: 'latest' }) }), served);
    expect(again.problems).toEqual(['tiny/2/model.yaml cannot be read']);
    expect(keysOf(again.served)).toEqual(['tiny/1']);
  });

  it('takes other files under the same number for another version', async () => {
    const { served } = await loader.load(fileOf({ a: tiny() }));
    await rm(join(root, 'tiny', '1'), { recursive: true });
    await writeTinyModel(root, { factor: 2 });
    const again = await loader.reload(fileOf({ a: tiny() }), served);
    expect(keysOf(again.served)).toEqual(['tiny/1~1']);
    const problem = expect.stringMatching(/^tiny\/1 was changed in place: /);
    expect(again.problems).toEqual([problem]);
    expect((await loader.reload(fileOf({ a: tiny() }), again.served)).problems).toEqual([problem]);
    await writeFile(join(root, 'tiny', '1', 'notes.txt'), 'also a change');
    expect(keysOf((await loader.reload(fileOf({ a: tiny() }), again.served)).served)).toEqual(['tiny/1~2']);
  });

  /** The version with a tokenizer whose vocabulary is a file. */
  async function writeUnigram(version: string, pieces: readonly string[]): Promise<void> {
    await writeTinyModel(root, { version });
    const description = join(root, 'tiny', version, 'model.yaml');
    const unigram = 'tokenizer: { type: unigram, vocabulary: vocabulary.json, reserved: 1 }';
    await writeFile(description, (await readFile(description, 'utf8')).replace('tokenizer: { type: bytes }', unigram));
    const vocabulary = [['\ufffd', 0], ...pieces.map((piece) => [piece, -1])];
    await writeFile(join(root, 'tiny', version, 'vocabulary.json'), JSON.stringify(vocabulary));
  }

  it('keeps counting as it did when a vocabulary is replaced in its place', async () => {
    await rm(join(root, 'tiny', '1'), { recursive: true });
    await writeUnigram('1', ['\u2581', 'abab']);
    const { served } = await loader.load(fileOf({ a: tiny() }));
    await rm(join(root, 'tiny', '1'), { recursive: true });
    await writeUnigram('1', ['\u2581', 'a', 'b']);
    const again = await loader.reload(fileOf({ a: tiny() }), served);
    expect(again.problems).toEqual([
      expect.stringMatching(/^tiny\/1 cannot take the place of .* has another tokenizer/),
    ]);
    expect(again.served.models.get('a')).toBe(served.models.get('a'));
  });

  it('goes on to a version when the one before it is gone from the disk', async () => {
    await rm(join(root, 'tiny', '1'), { recursive: true });
    await writeUnigram('1', ['\u2581', 'abab']);
    const { served } = await loader.load(fileOf({ a: tiny({ version: 'latest' }) }));
    await rm(join(root, 'tiny', '1'), { recursive: true });
    await writeUnigram('2', ['\u2581', 'abab']);
    const again = await loader.reload(fileOf({ a: tiny({ version: 'latest' }) }), served);
    expect([keysOf(again.served), again.problems]).toEqual([['tiny/2'], []]);
  });

  it('is refused when it would serve nothing', async () => {
    const { served } = await loader.load(fileOf({ a: tiny() }));
    await expect(loader.reload(fileOf({ a: { ...tiny(), pool: 'other' } }), served)).rejects.toThrow(
      'No model belongs',
    );
    const elsewhere = modelsFileSchema.parse({ pools: { other: {} }, models: {} });
    await expect(loader.reload(elsewhere, served)).rejects.toThrow('models.yaml has no pool "text".');
  });
});
