import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { readTfjsWeights } from '../src/builder/tfjs-weights.js';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-weights-'));
});

afterEach(() => rm(folder, { recursive: true }));

async function write(weights: readonly object[], bytes: Buffer): Promise<string> {
  const middle = Math.floor(bytes.length / 2) + 1; // a tensor may straddle two shards
  await writeFile(join(folder, 'one.bin'), bytes.subarray(0, middle));
  await writeFile(join(folder, 'two.bin'), bytes.subarray(middle));
  const path = join(folder, 'model.json');
  await writeFile(path, JSON.stringify({ weightsManifest: [{ paths: ['one.bin', 'two.bin'], weights }] }));
  return path;
}

function floats(...numbers: readonly number[]): Buffer {
  return Buffer.from(Float32Array.from(numbers).buffer);
}

const strings = (...texts: readonly string[]): Buffer =>
  Buffer.concat(
    texts.map((text) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(Buffer.byteLength(text));
      return Buffer.concat([length, Buffer.from(text)]);
    }),
  );

describe('the weight reader', () => {
  it('reads floats, quantised floats, integers, booleans and strings from one stream', async () => {
    const path = await write(
      [
        { name: 'labels', shape: [2], dtype: 'string' },
        { name: 'flag', shape: [1], dtype: 'bool' },
        { name: 'plain', shape: [1, 2], dtype: 'float32' },
        { name: 'size', shape: [], dtype: 'int32' },
        { name: 'small', shape: [3], dtype: 'float32', quantization: { dtype: 'uint8', min: -1, scale: 0.5 } },
      ],
      Buffer.concat([strings('a', 'bé'), Buffer.of(1), floats(1.5, -2), Buffer.alloc(4), Buffer.of(0, 2, 255)]),
    );
    const weights = await readTfjsWeights(path);
    expect(weights.strings('labels')).toEqual(['a', 'bé']);
    expect(weights.find('plain')).toEqual({ shape: [1, 2], data: Float32Array.of(1.5, -2) });
    expect(weights.find('small')).toEqual({ shape: [3], data: Float32Array.of(-1, 0, 126.5) });
  });

  it('refuses a part of a name that matches no weight or several', async () => {
    const entry = { shape: [1], dtype: 'float32' };
    const weights = await readTfjsWeights(
      await write(
        [
          { name: 'layer/a', ...entry },
          { name: 'layer/b', ...entry },
        ],
        floats(1, 2),
      ),
    );
    expect(() => weights.find('layer/')).toThrow('2 weights match "layer/"');
    expect(() => weights.find('other')).toThrow('0 weights match "other"');
    expect(() => weights.strings('other')).toThrow('no string tensor "other"');
  });

  it('refuses shards that are longer than the manifest says', async () => {
    const path = await write([{ name: 'a', shape: [1], dtype: 'float32' }], floats(1, 2));
    await expect(readTfjsWeights(path)).rejects.toThrow('the shards hold 8 bytes, the manifest lists 4');
  });

  it('refuses shards that are cut short', async () => {
    const path = await write([{ name: 'a', shape: [3], dtype: 'float32' }], floats(1, 2));
    await expect(readTfjsWeights(path)).rejects.toThrow('the shards hold 8 bytes, the manifest lists 12');
  });
});
