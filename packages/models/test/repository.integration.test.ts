import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { checkDigest, digestOf, DIGESTS_FILE } from '../src/digests.js';
import { asTextModel } from '../src/model.js';
import { openModelRepository } from '../src/repository.js';
import { createTokenizer } from '../src/tokenizer.js';

const DESCRIPTION = `
name: tiny
task: text-classification
description: For tests
licence: Apache-2.0
source: none
precision: fp32
tokenizer: { type: unigram, vocabulary: vocabulary.json, reserved: 1 }
maxInputTokens: 16
quantisation: none
inputs: { inputIds: input_ids, attentionMask: attention_mask }
output: { name: probabilities, dimensions: 2 }
labels: [yes, no]
`.replace('[yes, no]', '["yes", "no"]');

let root: string;
let folder: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'sluice-models-'));
  folder = join(root, 'tiny', '1');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'model.onnx'), 'bytes');
  await writeFile(join(folder, 'model.yaml'), DESCRIPTION);
  await writeFile(join(folder, 'vocabulary.json'), '[["\ufffd", 0], ["\u2581", -1]]');
});

afterEach(() => rm(root, { recursive: true }));

async function find(name = 'tiny', version = '1') {
  return (await openModelRepository(root)).find(name, version);
}

function unavailable(detail: RegExp) {
  return expect.objectContaining({ code: 'model_unavailable', message: expect.stringMatching(detail) as unknown });
}

describe('the model repository', () => {
  it('finds a version and reads its description', async () => {
    const model = await find();
    expect(model).toMatchObject({
      name: 'tiny',
      version: '1',
      directory: folder,
      modelPath: join(folder, 'model.onnx'),
    });
    expect(model.file).toMatchObject({ maxInputTokens: 16, maxOutputTokens: 0, labels: ['yes', 'no'] });
  });

  it('finds a version that was added after it was opened', async () => {
    const repository = await openModelRepository(root);
    await expect(repository.find('tiny', '2')).rejects.toEqual(unavailable(/tiny\/2\/model\.yaml cannot be read/));
    await mkdir(join(root, 'tiny', '2'));
    for (const [file, text] of [
      ['model.onnx', 'bytes'],
      ['model.yaml', DESCRIPTION],
      ['vocabulary.json', '[["\ufffd", 0]]'],
    ] as const) {
      await writeFile(join(root, 'tiny', '2', file), text);
    }
    expect((await repository.find('tiny', '2')).version).toBe('2');
  });

  it('refuses a folder that does not exist, without naming its path', async () => {
    const missing = join(root, 'nowhere');
    await expect(openModelRepository(missing)).rejects.toEqual(unavailable(/^The model repository does not exist$/));
  });

  it.each([
    ['..', '1'],
    ['tiny/../tiny', '1'],
    ['Tiny', '1'],
    ['tiny', '..'],
    ['tiny', '1/../1'],
    ['tiny', ''],
    ['tiny', 'one'],
  ])('refuses the name %j with version %j before it looks at the disk', async (name, version) => {
    await expect(find(name, version)).rejects.toEqual(unavailable(/is not the name and version of a model/));
  });

  it.each(['model.onnx', 'vocabulary.json'])('names %s when it is missing', async (file) => {
    await rm(join(folder, file));
    await expect(find()).rejects.toEqual(unavailable(new RegExp(`tiny/1/${file.replace('.', '\\.')} is missing`)));
  });

  it('refuses an empty model file', async () => {
    await writeFile(join(folder, 'model.onnx'), '');
    await expect(find()).rejects.toEqual(unavailable(/tiny\/1\/model\.onnx is empty/));
  });

  it('lists what is wrong in a description, with its line', async () => {
    await writeFile(join(folder, 'model.yaml'), DESCRIPTION.replace('maxInputTokens: 16', 'maxInputTokens: none'));
    await expect(find()).rejects.toEqual(unavailable(/tiny\/1\/model\.yaml is not valid: .*:\d+: maxInputTokens/));
  });

  it('refuses a description that tells with an older field whether texts may share runs', async () => {
    await writeFile(join(folder, 'model.yaml'), DESCRIPTION.replace('quantisation: none', 'batchable: true'));
    await expect(find()).rejects.toEqual(unavailable(/quantisation: is required; .*not known: "batchable"/));
  });

  it('refuses a description that is not YAML', async () => {
    await writeFile(join(folder, 'model.yaml'), 'name: [');
    await expect(find()).rejects.toEqual(unavailable(/tiny\/1\/model\.yaml is not valid/));
  });

  it('refuses the description of another model', async () => {
    await writeFile(join(folder, 'model.yaml'), DESCRIPTION.replace('name: tiny', 'name: other'));
    await expect(find()).rejects.toEqual(unavailable(/describes "other", not "tiny"/));
  });

  it('refuses a classifier whose labels do not match its output', async () => {
    await writeFile(join(folder, 'model.yaml'), DESCRIPTION.replace('["yes", "no"]', '["yes"]'));
    await expect(find()).rejects.toEqual(unavailable(/has 1 labels for 2 output dimensions/));
  });
});

const TENSORS = `
name: tiny
task: tensors
description: For tests
licence: Apache-2.0
source: none
precision: fp32
inputs: [{ name: x, datatype: FP32, shape: [-1, 3] }]
outputs: [{ name: y, datatype: INT64, shape: [] }]
maxInputTokens: 16
`;

describe('the description of a model of tensors', () => {
  it('needs neither a tokenizer nor a vocabulary', async () => {
    await writeFile(join(folder, 'model.yaml'), TENSORS);
    await rm(join(folder, 'vocabulary.json'));
    expect((await find()).file).toMatchObject({ task: 'tensors', elementsPerToken: 1, maxOutputTokens: 0 });
  });

  it.each([
    ['FP32', 'BYTES', /inputs\.0\.datatype: must be one of BOOL, UINT8, .*FP64/],
    ['[-1, 3]', '[0, 3]', /inputs\.0\.shape\.0: must be a whole number from 1 .*, or -1/],
    ['[-1, 3]', '[-2]', /inputs\.0\.shape\.0: must be/],
    ['[-1, 3]', '[1.5]', /inputs\.0\.shape\.0: must be/],
    ['[-1, 3]', '[2147483648]', /inputs\.0\.shape\.0: must be/],
    ['[-1, 3]', '[1, 1, 1, 1, 1, 1, 1, 1, 1]', /inputs\.0\.shape: must have at most 8 items/],
    ['outputs: [', 'outputs: [{ name: y, datatype: FP32, shape: [] }, ', /outputs: has a name twice/],
    ['inputs: [{ name: x, datatype: FP32, shape: [-1, 3] }]', 'inputs: []', /inputs: must not be empty/],
    ['maxInputTokens: 16', 'maxInputTokens: 16\nelementsPerToken: 0', /elementsPerToken: must be at least 1/],
    [
      'maxInputTokens: 16',
      'maxInputTokens: 16\nmaxOutputTokens: 100000000',
      /maxOutputTokens: and maxInputTokens must/,
    ],
    ['maxInputTokens: 16', 'maxInputTokens: 16\ntokenizer: { type: bytes }', /has what is not known: "tokenizer"/],
    ['task: tensors', 'task: tensor', /task: must be one of embedding, text-classification, tensors/],
  ])('is refused with %s → %s', async (from, to, expected) => {
    await writeFile(join(folder, 'model.yaml'), TENSORS.replace(from, to));
    await expect(find()).rejects.toEqual(unavailable(expected));
  });
});

describe('the caps of a model of tensors', () => {
  const fixed = (caps: string) =>
    TENSORS.replace('shape: [-1, 3]', 'shape: [4, 3]')
      .replace('shape: []', 'shape: [5]')
      .replace('maxInputTokens: 16', caps);

  it.each([
    ['maxInputTokens: 12\nmaxOutputTokens: 5', undefined],
    ['maxInputTokens: 12\nmaxOutputTokens: 0', undefined],
    ['maxInputTokens: 6\nmaxOutputTokens: 3\nelementsPerToken: 2', undefined],
    ['maxInputTokens: 11', /^tiny\/1\/model\.yaml has maxInputTokens 11, but its inputs never have fewer than 12$/],
    ['maxInputTokens: 12\nmaxOutputTokens: 4', /has maxOutputTokens 4, but its outputs never have fewer than 5$/],
  ])('leave room for its shapes: %s', async (caps, expected) => {
    await writeFile(join(folder, 'model.yaml'), fixed(caps));
    if (expected) await expect(find()).rejects.toEqual(unavailable(expected));
    else await expect(find()).resolves.toBeDefined();
  });
});

describe('the tokenizer of a model', () => {
  it('is made from the vocabulary of the version folder', async () => {
    expect([...(await createTokenizer(asTextModel(await find()))).encode('?')]).toEqual([1, 0]);
  });

  it.each(['{', '{}', '[]', '[["a"]]', '[[1, 2]]', '[["a", "b"]]'])('refuses the vocabulary %s', async (text) => {
    await writeFile(join(folder, 'vocabulary.json'), text);
    await expect(createTokenizer(asTextModel(await find()))).rejects.toEqual(unavailable(/tiny\/1\/vocabulary\.json/));
  });
});

describe('a digest', () => {
  it('is not needed', async () => {
    await expect(checkDigest(await find(), 'model.onnx')).resolves.toBeUndefined();
  });

  it('lets an intact file pass and refuses a changed one', async () => {
    const files = { 'model.onnx': await digestOf(join(folder, 'model.onnx')) };
    await writeFile(join(folder, DIGESTS_FILE), JSON.stringify({ stamp: 'any', files }));
    await checkDigest(await find(), 'model.onnx');
    await writeFile(join(folder, 'model.onnx'), 'bytez');
    await expect(checkDigest(await find(), 'model.onnx')).rejects.toEqual(unavailable(/does not match its digest/));
  });
});
