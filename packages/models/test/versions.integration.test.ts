import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { ModelEntry } from '@sluice/contracts';
import { digestOf, DIGESTS_FILE } from '../src/digests.js';
import { requireSameKind } from '../src/compatibility.js';
import { openModelRepository, type ModelRepository } from '../src/repository.js';
import { findShadow, findVersions } from '../src/versions.js';

interface Facts {
  readonly task?: string;
  readonly tokenizer?: string;
  readonly maxInputTokens?: number;
  readonly maxOutputTokens?: number;
  readonly dimensions?: number;
  readonly labels?: string;
  readonly vocabulary?: string;
}

let root: string;
let repository: ModelRepository;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sluice-versions-'));
  repository = await openModelRepository(root);
});

afterEach(() => rm(root, { recursive: true }));

async function writeVersion(version: string, facts: Facts = {}): Promise<string> {
  const folder = join(root, 'tiny', version);
  await mkdir(folder, { recursive: true });
  const { task = 'embedding', tokenizer = '{ type: bytes }', maxInputTokens = 16, maxOutputTokens = 0 } = facts;
  await writeFile(join(folder, 'model.onnx'), `bytes of ${version}`);
  await writeFile(join(folder, 'vocabulary.json'), facts.vocabulary ?? '[["a", -1]]');
  const lines = [
    ...['name: tiny', 'description: For tests', 'licence: Apache-2.0', 'source: none', 'precision: fp32'],
    ...[`task: ${task}`, `tokenizer: ${tokenizer}`, 'quantisation: none'],
    ...[`maxInputTokens: ${maxInputTokens}`, `maxOutputTokens: ${maxOutputTokens}`],
    'inputs: { inputIds: ids, attentionMask: mask }',
    `output: { name: rows, dimensions: ${facts.dimensions ?? 2} }`,
    ...(facts.labels === undefined ? [] : [`labels: ${facts.labels}`]),
  ];
  await writeFile(join(folder, 'model.yaml'), lines.join('\n'));
  return folder;
}

interface TensorFacts {
  /** As `[name: TYPE [axes], …]`. */
  readonly inputs: string;
  readonly outputs: string;
  readonly elementsPerToken?: number;
  readonly maxOutputTokens?: number;
}

async function writeTensorVersion(version: string, facts: TensorFacts) {
  const { inputs, outputs, elementsPerToken = 1, maxOutputTokens = 9 } = facts;
  const specs = (list: string) => list.replace(/(\w+): (\w+) (\[[^\]]*\])/g, '{ name: $1, datatype: $2, shape: $3 }');
  const folder = await writeVersion(version);
  const lines = [
    ...['name: tiny', 'description: For tests', 'licence: Apache-2.0', 'source: none', 'precision: fp32'],
    ...['task: tensors', 'maxInputTokens: 16', `elementsPerToken: ${elementsPerToken}`],
    `maxOutputTokens: ${maxOutputTokens}`,
    ...[`inputs: ${specs(inputs)}`, `outputs: ${specs(outputs)}`],
  ];
  await writeFile(join(folder, 'model.yaml'), lines.join('\n'));
}

async function addWrongDigest(folder: string): Promise<void> {
  const files = { 'model.onnx': await digestOf(join(folder, 'model.yaml')) };
  await writeFile(join(folder, DIGESTS_FILE), JSON.stringify({ stamp: 'any', files }));
}

const digestsOf = (text: string) => (folder: string) => writeFile(join(folder, DIGESTS_FILE), text);

/** Puts something else in the place of a file. */
async function replace(path: string, make: (path: string) => Promise<unknown>): Promise<void> {
  await rm(path);
  await make(path);
}

const makeFolder = (path: string) => mkdir(path);
const makeLoop = (path: string) => symlink(path, path);
const makeDangling = (path: string) => symlink(`${path}.gone`, path);

const unigram = '{ type: unigram, vocabulary: vocabulary.json, reserved: 1 }';
const canaryOf = (version: string) => ({ version, percent: 5, stickyBy: 'tenant' }) as const;
const wrong = (problem: RegExp) => ({ isWrong: true, problems: [expect.stringMatching(problem)] });

const versionsOf = (entry: Omit<ModelEntry, 'pool'>) => findVersions(repository, 'tiny', { pool: 'text', ...entry });

function unavailable(detail: RegExp) {
  return expect.objectContaining({ code: 'model_unavailable', message: expect.stringMatching(detail) as unknown });
}

describe('the versions of a public model', () => {
  it('are the pinned one and the canary', async () => {
    for (const version of ['1', '2', '3', '4']) await writeVersion(version);
    const found = await versionsOf({
      version: '2',
      canary: canaryOf('latest'),
    });
    expect([found.main.version, found.canary.model?.version, found.problems]).toEqual(['2', '4', []]);
  });

  it('may have a shadow beside them, which is another and takes the same jobs', async () => {
    for (const version of ['1', '2', '3']) await writeVersion(version);
    await writeVersion('4', { dimensions: 3 });
    const { main } = await versionsOf({ version: '2' });
    const shadowOf = (version: string) => {
      const shadow = { version, percent: 5, stickyBy: 'job', tolerance: 0 } as const;
      return findShadow(repository, 'tiny', { pool: 'text', version: '2', shadow }, main);
    };
    expect((await shadowOf('1')).model?.version).toBe('1');
    expect(await shadowOf('latest')).toMatchObject({
      model: { version: '3' },
      problems: [expect.stringMatching(/^tiny\/4 cannot take jobs .* has 3 output dimensions instead of 2/)],
    });
    expect(await shadowOf('2')).toEqual({ isWrong: false, problems: [] });
    const none = await findShadow(repository, 'tiny', { pool: 'text', version: '2' }, main);
    expect(none).toEqual({ isWrong: false, problems: [] });
    expect(await shadowOf('4')).toEqual(wrong(/^The shadow of tiny .*: tiny\/4 .* has 3 output dimensions/));
    expect(await shadowOf('5')).toEqual(wrong(/^The shadow of tiny .*: tiny\/5\/model\.yaml cannot be read$/));
  });

  it('leave out a canary that is the main version by now', async () => {
    await writeVersion('1');
    const { canary } = await versionsOf({ version: 'latest', canary: canaryOf('1') });
    expect(canary).toEqual({ isWrong: false, problems: [] });
  });

  it.each<[string, (folder: string) => Promise<unknown>, RegExp]>([
    ['is missing', (folder) => rm(folder, { recursive: true }), /tiny\/2\/model\.yaml cannot be read$/],
    ['is copied half', (folder) => rm(join(folder, 'model.onnx')), /tiny\/2\/model\.onnx is missing$/],
    ['is described wrong', (folder) => writeFile(join(folder, 'model.yaml'), 'x: ['), /tiny\/2\/model\.yaml is not/],
    ['is damaged', addWrongDigest, /tiny\/2\/model\.onnx does not match its digest/],
    [
      'has a folder as its description',
      (folder) => replace(join(folder, 'model.yaml'), makeFolder),
      /model\.yaml cannot be read$/,
    ],
    [
      'has no description behind its link',
      (folder) => replace(join(folder, 'model.yaml'), makeDangling),
      /cannot be read$/,
    ],
    [
      'has a description that refers to nothing',
      (folder) => writeFile(join(folder, 'model.yaml'), 'name: *nothing'),
      /tiny\/2\/model\.yaml is not valid: .*alias/,
    ],
    [
      'has a folder as its file',
      (folder) => replace(join(folder, 'model.onnx'), makeFolder),
      /model\.onnx is empty or not/,
    ],
    ['has a link to itself', (folder) => replace(join(folder, 'model.onnx'), makeLoop), /model\.onnx cannot be read$/],
    ['has a link to nothing', (folder) => replace(join(folder, 'model.onnx'), makeDangling), /model\.onnx is missing$/],
    [
      'has a folder as its digests',
      (folder) => makeFolder(join(folder, DIGESTS_FILE)),
      /tiny\/2\/digests\.json cannot be read$/,
    ],
    ['has a link as its digests', (folder) => makeLoop(join(folder, DIGESTS_FILE)), /digests\.json cannot be read$/],
    ['has half of its digests', digestsOf('{"files": {"model.onnx": '), /digests\.json is not valid: .*not JSON/],
    ['has digests of nothing', digestsOf('null'), /digests\.json is not valid/],
    ['has digests without files', digestsOf('{"files": null}'), /digests\.json is not valid: files: must be/],
    [
      'has digests that are none',
      digestsOf('{"files": {"model.onnx": "12"}}'),
      /digests\.json is not valid: files\.model/,
    ],
    [
      'has digests of files elsewhere',
      digestsOf(`{"files": {"../1/model.onnx": "${'0'.repeat(64)}"}}`),
      /digests\.json is not valid: files\.\.\.\/1\/model\.onnx/,
    ],
    [
      'lacks a file of its digests',
      digestsOf(`{"files": {"licence.txt": "${'0'.repeat(64)}"}}`),
      /tiny\/2\/licence\.txt cannot be read$/,
    ],
    [
      'lists a folder in its digests',
      async (folder) => {
        await mkdir(join(folder, 'more'));
        await digestsOf(`{"files": {"more": "${'0'.repeat(64)}"}}`)(folder);
      },
      /tiny\/2\/more cannot be read$/,
    ],
    [
      'has another description than its digests',
      async (folder) => {
        const file = await digestOf(join(folder, 'model.onnx'));
        await digestsOf(JSON.stringify({ files: { 'model.onnx': file, 'model.yaml': file } }))(folder);
      },
      /tiny\/2\/model\.yaml does not match its digest/,
    ],
  ])('are the main one alone while a canary %s, which is a problem', async (_what, spoil, reason) => {
    await writeVersion('1');
    await spoil(await writeVersion('2'));
    const { main, canary, problems } = await versionsOf({ version: '1', canary: canaryOf('2') });
    expect([main.version, canary]).toEqual(['1', wrong(/^The canary of tiny cannot be used: tiny\/2/)]);
    expect(problems).toEqual([expect.stringMatching(reason)]);
  });

  it('take the greatest number for the latest one, not the last in the alphabet', async () => {
    for (const version of ['9', '10', '010', 'draft']) await writeVersion(version);
    expect((await versionsOf({ version: 'latest' })).main.version).toBe('10');
  });

  it('pass over what is not complete, not intact or not fit for the jobs of those before, and say why', async () => {
    for (const version of ['1', '2', '3', '6']) await writeVersion(version);
    await mkdir(join(root, 'tiny', '4'));
    await writeFile(join(root, 'tiny', '4', 'model.onnx'), 'half');
    await writeVersion('5', { maxInputTokens: 8 });
    await addWrongDigest(join(root, 'tiny', '6'));
    const { main, problems } = await versionsOf({ version: 'latest' });
    expect(main.version).toBe('3');
    expect(problems).toEqual([
      expect.stringMatching(/^tiny\/4\/model\.yaml cannot be read$/),
      expect.stringMatching(/^tiny\/5 cannot take jobs of tiny .* takes 8 tokens instead of 16/),
      expect.stringMatching(/^tiny\/6\/model\.onnx does not match its digest/),
    ]);
  });

  it('say nothing of a bad version that a good one has followed', async () => {
    await writeVersion('1');
    await mkdir(join(root, 'tiny', '2'));
    await writeVersion('3');
    expect(await versionsOf({ version: 'latest' })).toMatchObject({ main: { version: '3' }, problems: [] });
  });

  it('do not take the least one for a measure when its tokenizer cannot be made', async () => {
    await writeVersion('1', { tokenizer: unigram, vocabulary: 'not JSON' });
    await writeVersion('2', { tokenizer: unigram });
    await writeVersion('3', { tokenizer: unigram, vocabulary: '[["b", -1]]' });
    const { main, problems } = await versionsOf({ version: 'latest' });
    expect(main.version).toBe('2');
    expect(problems).toEqual([expect.stringMatching(/^tiny\/3 .* it has another tokenizer/)]);
  });

  it('are unavailable when there is none, or none that can be used', async () => {
    await expect(versionsOf({ version: 'latest' })).rejects.toEqual(unavailable(/^tiny has no version/));
    await mkdir(join(root, 'tiny', '1'), { recursive: true });
    await expect(versionsOf({ version: 'latest' })).rejects.toEqual(
      unavailable(/^tiny\/1\/model\.yaml cannot be read/),
    );
    await expect(versionsOf({ version: '1' })).rejects.toEqual(unavailable(/^tiny\/1\/model\.yaml cannot be read/));
  });

  it.each<[string, Facts, Facts, RegExp]>([
    ['another task', {}, { task: 'text-classification', labels: '[x, z]' }, /does text-classification instead of emb/],
    ['another size of output', {}, { dimensions: 3 }, /has 3 output dimensions instead of 2/],
    ['another kind of tokenizer', {}, { tokenizer: unigram }, /has another tokenizer/],
    ['another vocabulary', { tokenizer: unigram }, { tokenizer: unigram, vocabulary: '[["b", -1]]' }, /another tokeni/],
    ['shorter inputs', {}, { maxInputTokens: 15 }, /takes 15 tokens instead of 16/],
    ['longer outputs', {}, { maxOutputTokens: 1 }, /may produce 1 tokens instead of 0/],
    [
      'other labels',
      { task: 'text-classification', labels: '[x, z]' },
      { task: 'text-classification', labels: '[z, x]' },
      /has other labels/,
    ],
  ])('must not have %s', async (_what, before, after, reason) => {
    await writeVersion('1', before);
    await writeVersion('2', after);
    const { main, canary } = await versionsOf({ version: '1', canary: canaryOf('2') });
    expect([main.version, canary]).toEqual(['1', wrong(reason)]);
  });

  const tensors = { inputs: '[a: FP32 [-1, 4], b: BOOL []]', outputs: '[y: FP32 [-1], z: INT64 [2]]' };
  it.each<[string, Partial<TensorFacts>, RegExp]>([
    ['an input less', { inputs: '[a: FP32 [-1, 4]]' }, /has no input b; /],
    ['an input more', { inputs: '[a: FP32 [-1, 4], b: BOOL [], c: BOOL []]' }, /it needs an input c;/],
    [
      'another type',
      { inputs: '[a: FP64 [-1, 4], b: BOOL []]' },
      /the input a as FP64 \[-1, 4\] instead of FP32 \[-1, 4/,
    ],
    ['an axis that was free', { inputs: '[a: FP32 [3, 4], b: BOOL []]' }, /the input a as FP32 \[3, 4\] instead of/],
    ['other axes', { inputs: '[a: FP32 [-1, 4], b: BOOL [1]]' }, /the input b as BOOL \[1\] instead of BOOL \[\]/],
    ['an output less', { outputs: '[y: FP32 [-1]]' }, /has no output z/],
    ['an output more', { outputs: '[y: FP32 [-1], z: INT64 [2], w: INT8 []]' }, /has an output w more/],
    [
      'a free axis that was not',
      { outputs: '[y: FP32 [-1], z: INT64 [-1]]' },
      /the output z as INT64 \[-1\] instead of/,
    ],
    [
      'more outputs at least',
      { outputs: '[y: FP32 [3], z: INT64 [2]]' },
      /it produces at least 5 tokens instead of 2;/,
    ],
    ['outputs that count for nothing', { maxOutputTokens: 0 }, /it does not count its outputs/],
    ['other tokens', { elementsPerToken: 2 }, /counts 2 elements as a token instead of 1/],
  ])('of tensors must not have %s', async (_what, after, reason) => {
    await writeTensorVersion('1', tensors);
    await writeTensorVersion('2', { ...tensors, ...after });
    const { main, canary } = await versionsOf({ version: '1', canary: canaryOf('2') });
    expect([main.version, canary]).toEqual(['1', wrong(reason)]);
  });

  it('of tensors may take more, promise more, and list it in another order', async () => {
    await writeTensorVersion('1', { ...tensors, maxOutputTokens: 0 });
    await writeTensorVersion('2', {
      inputs: '[b: BOOL [], a: FP32 [-1, -1]]',
      outputs: '[z: INT64 [2], y: FP32 [7]]',
      maxOutputTokens: 0,
    });
    expect((await versionsOf({ version: 'latest' })).main.version).toBe('2');
  });

  it('of texts and of tensors do not go together', async () => {
    await writeVersion('1');
    await writeTensorVersion('2', tensors);
    const found = await versionsOf({ version: 'latest' });
    expect(found).toMatchObject({
      main: { version: '1' },
      problems: [expect.stringMatching(/does tensors instead/)],
    });
  });

  it.each<[string, string]>([
    ['that it took before, and less', '[a: FP32 [3, 4], b: BOOL []]'],
    ['that it took before, and more', '[a: FP32 [-1, -1], b: BOOL []]'],
  ])('of tensors may take the place of one that runs when there are inputs %s', async (_what, inputs) => {
    await writeTensorVersion('1', tensors);
    await writeTensorVersion('2', { inputs, outputs: '[y: FP32 [3], z: INT64 [-1]]', maxOutputTokens: 20 });
    const [before, after] = [await repository.find('tiny', '1'), await repository.find('tiny', '2')];
    await expect(requireSameKind('tiny', before, after)).resolves.toBeUndefined();
  });

  it.each<[string, Partial<TensorFacts>, RegExp]>([
    ['no input that was taken', { inputs: '[a: FP32 [-1, 5], b: BOOL []]' }, /the input a as FP32 \[-1, 5\] instead/],
    ['other outputs', { outputs: '[y: FP32 [-1], z: INT64 [3]]' }, /the output z as INT64 \[3\] instead/],
    ['other tokens', { elementsPerToken: 2 }, /counts 2 elements as a token instead of 1/],
  ])('of tensors does not take the place of one that runs with %s', async (_what, facts, reason) => {
    await writeTensorVersion('1', tensors);
    await writeTensorVersion('2', { ...tensors, ...facts });
    const [before, after] = [await repository.find('tiny', '1'), await repository.find('tiny', '2')];
    await expect(requireSameKind('tiny', before, after)).rejects.toEqual(unavailable(reason));
  });

  it('may take longer inputs', async () => {
    await writeVersion('1');
    await writeVersion('2', { maxInputTokens: 17 });
    expect((await versionsOf({ version: 'latest' })).main.version).toBe('2');
  });
});

describe('the look of a repository', () => {
  it('is the same until a file changes, comes or goes', async () => {
    const folder = await writeVersion('1');
    const looks = [await repository.look(['tiny'])];
    expect(await repository.look(['tiny', 'tiny'])).toBe(looks[0]);
    await writeFile(join(folder, 'model.onnx'), 'longer bytes of 1');
    looks.push(await repository.look(['tiny']));
    await writeVersion('2');
    looks.push(await repository.look(['tiny']));
    await rename(join(root, 'tiny', '2'), join(root, 'tiny', '3'));
    looks.push(await repository.look(['tiny']));
    expect(new Set(looks).size).toBe(4);
  });

  it('notices damage to a version that was intact before', async () => {
    const folder = await writeVersion('1');
    const files = { 'model.onnx': await digestOf(join(folder, 'model.onnx')) };
    await writeFile(join(folder, DIGESTS_FILE), JSON.stringify({ stamp: 'any', files }));
    await repository.findIntact('tiny', '1');
    await writeFile(join(folder, 'model.onnx'), 'damage');
    await expect(repository.findIntact('tiny', '1')).rejects.toEqual(unavailable(/does not match its digest/));
  });

  it('does not need a folder', async () => {
    await expect(repository.look(['gone'])).resolves.toBe('');
  });
});
