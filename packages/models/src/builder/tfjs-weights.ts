import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** A float32 tensor, row-major. */
export interface Weight {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** The weights of a model in TensorFlow.js graph format. */
export interface TfjsWeights {
  /** The float32 weight whose name contains `part`; an error unless there is exactly one. */
  find(part: string): Weight;
  /** The strings of the tensor with exactly this name; an error when there is none. */
  strings(name: string): readonly string[];
}

interface ManifestEntry {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'int32' | 'bool' | 'string';
  readonly quantization?: { readonly dtype: 'uint8'; readonly min: number; readonly scale: number };
}

interface ModelJson {
  readonly weightsManifest: readonly {
    readonly paths: readonly string[];
    readonly weights: readonly ManifestEntry[];
  }[];
}

/**
 * Reads `model.json` and its shards. The shards of a group are one stream of tensors in the order of the manifest:
 * numbers little-endian, a string as a uint32 length and its UTF-8 bytes, a quantised float32 as bytes `q` that stand
 * for `q × scale + min`. Source: the weights manifest of @tensorflow/tfjs-core, io/types and io/io_utils.
 */
export async function readTfjsWeights(modelJsonPath: string): Promise<TfjsWeights> {
  const { weightsManifest } = JSON.parse(await readFile(modelJsonPath, 'utf8')) as ModelJson;
  const floats = new Map<string, Weight>();
  const texts = new Map<string, readonly string[]>();
  for (const group of weightsManifest) {
    const shards = group.paths.map((path) => readFile(join(dirname(modelJsonPath), path)));
    readGroup(Buffer.concat(await Promise.all(shards)), group.weights, floats, texts);
  }
  return {
    find(part) {
      const [name, ...others] = [...floats.keys()].filter((each) => each.includes(part));
      const weight = name === undefined ? undefined : floats.get(name);
      if (!weight || others.length > 0) throw new Error(`${others.length + (weight ? 1 : 0)} weights match "${part}"`);
      return weight;
    },
    strings(name) {
      const found = texts.get(name);
      if (!found) throw new Error(`there is no string tensor "${name}"`);
      return found;
    },
  };
}

function readGroup(
  bytes: Buffer,
  entries: readonly ManifestEntry[],
  floats: Map<string, Weight>,
  texts: Map<string, readonly string[]>,
): void {
  let offset = 0;
  for (const { name, shape, dtype, quantization } of entries) {
    const length = shape.reduce((product, axis) => product * axis, 1);
    if (dtype === 'string') {
      const read = readStrings(bytes, offset, length);
      texts.set(name, read.strings);
      offset = read.end;
      continue;
    }
    const width = quantization || dtype === 'bool' ? 1 : 4;
    const data = bytes.subarray(offset, offset + length * width);
    offset += length * width;
    if (dtype === 'float32')
      floats.set(name, { shape, data: quantization ? dequantise(data, quantization) : toFloats(data) });
  }
  if (offset !== bytes.length) throw new Error(`the shards hold ${bytes.length} bytes, the manifest lists ${offset}`);
}

function readStrings(bytes: Buffer, start: number, count: number): { strings: readonly string[]; end: number } {
  const strings: string[] = [];
  let end = start;
  for (let index = 0; index < count; index++) {
    const from = end + 4;
    end = from + bytes.readUInt32LE(end);
    strings.push(bytes.toString('utf8', from, end));
  }
  return { strings, end };
}

/** Copies, since the bytes need not be aligned to four. */
function toFloats(bytes: Uint8Array): Float32Array {
  return new Float32Array(new Uint8Array(bytes).buffer);
}

function dequantise(bytes: Uint8Array, { scale, min }: { scale: number; min: number }): Float32Array {
  return Float32Array.from(bytes, (quantised) => quantised * scale + min);
}
