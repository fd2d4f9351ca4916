import { mkdir, mkdtemp, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A text with this character is refused by the model: its bytes are outside the table that they index. */
export const REFUSED = 'é';
/** A text with this character takes the model many seconds: it multiplies two matrices of 8000 × 8000. */
export const SLOW = '~';
/** A text with this character takes the model a second or two: as `SLOW`, with 4000 × 4000. */
export const SLUGGISH = '}';
/** A text with this character, and none above it, never ends: a loop whose condition stays true. */
export const ENDLESS = '|';
/** A text with this character, and none above it, takes 1.2 GB of memory and about half a second. */
export const GREEDY = '{';

export interface TinyModelOptions {
  /** `1` when absent. */
  readonly version?: string;
  /** What each byte counts in the sum; 1 when absent. */
  readonly factor?: number;
  /** 1000 when absent. */
  readonly maxInputTokens?: number;
  /** Its file is not a model. */
  readonly damaged?: boolean;
  /** Which character makes it endless, and which greedy; `ENDLESS` and `GREEDY` when absent. */
  readonly endless?: string;
  readonly greedy?: string;
  /** Name of the model; `tiny` when absent. */
  readonly name?: string;
}

/**
 * Writes a version of `tiny`, or of the same under another name, into a model repository: one token for each byte, one output column with the sum of the bytes.
 * Small enough to load at once, and able to go wrong on demand, as a real model may. The version appears complete.
 */
export async function writeTinyModel(repository: string, options: TinyModelOptions = {}): Promise<void> {
  const { name = 'tiny', version = '1', maxInputTokens = 1000, damaged = false } = options;
  const work = await mkdtemp(join(repository, '.writing-'));
  await writeFile(join(work, 'model.onnx'), damaged ? 'damage' : tinyOnnx(options));
  await writeFile(join(work, 'model.yaml'), tinyYaml(name, maxInputTokens));
  await mkdir(join(repository, name), { recursive: true });
  await rename(work, join(repository, name, version));
}

const tinyYaml = (name: string, maxInputTokens: number) => `
name: ${name}
task: embedding
description: Sums bytes, for tests
licence: Apache-2.0
source: The tests
precision: fp32
tokenizer: { type: bytes }
maxInputTokens: ${maxInputTokens}
quantisation: none
inputs: { inputIds: ids, attentionMask: mask }
output: { name: rows, dimensions: 1 }
`;

function tinyOnnx({ factor = 1, endless = ENDLESS, greedy = GREEDY }: TinyModelOptions): Buffer {
  const graph = [
    // rows = Σ table[ids] · mask, and an id from 128 on is outside the table.
    node('Gather', ['table', 'ids'], 'values'),
    node('Cast', ['mask'], 'weights', { to: FLOAT }),
    node('Mul', ['values', 'weights'], 'masked'),
    node('ReduceSum', ['masked', 'axis1'], 'sums'),
    // n = 8, 4008 when the largest byte is "}", 8008 when it is "~": the work grows with its third power.
    node('ReduceMax', ['masked'], 'largest', { keepdims: 0 }),
    node('Greater', ['largest', 'thresholds'], 'passed'),
    node('Cast', ['passed'], 'passedNumbers', { to: INT64 }),
    node('Mul', ['passedNumbers', 'stepSize'], 'steps'),
    node('ReduceSum', ['steps'], 'extra', { keepdims: 0 }),
    node('Add', ['extra', 'smallSize'], 'size'),
    node('Concat', ['size', 'size'], 'shape', { axis: 0 }),
    node('ConstantOfShape', ['shape'], 'square'),
    node('MatMul', ['square', 'square'], 'product'),
    node('ReduceSum', ['product'], 'nothing', { keepdims: 0 }),
    node('Equal', ['largest', 'greedy'], 'isGreedy'),
    node('Cast', ['isGreedy'], 'isGreedyNumber', { to: INT64 }),
    node('Mul', ['isGreedyNumber', 'hugeSize'], 'hoardSize'),
    node('ConstantOfShape', ['hoardSize'], 'hoard'),
    node('ReduceSum', ['hoard'], 'hoarded', { keepdims: 0 }),
    node('Equal', ['largest', 'endless'], 'isEndless'),
    node('Loop', ['', 'isEndless', 'hoarded'], 'spun', { body: sameAgain() }),
    node('Sum', ['sums', 'nothing', 'spun'], 'rows'),
    bytes(2, text('tiny')),
    floats(
      'table',
      [128],
      Float32Array.from({ length: 128 }, (_, at) => at * factor),
    ),
    floats(
      'thresholds',
      [2],
      Float32Array.from([SLUGGISH, SLOW], (character) => (character.charCodeAt(0) - 0.5) * factor),
    ),
    floats('greedy', [1], Float32Array.of(greedy.charCodeAt(0) * factor)),
    floats('endless', [1], Float32Array.of(endless.charCodeAt(0) * factor)),
    longs('hugeSize', [1], [300_000_000]),
    longs('axis1', [1], [1]),
    longs('stepSize', [1], [4000]),
    longs('smallSize', [1], [8]),
    value(11, 'ids', INT64, ['batch', 'length']),
    value(11, 'mask', INT64, ['batch', 'length']),
    value(12, 'rows', FLOAT, ['batch', 1]),
  ];
  const opset = bytes(8, Buffer.concat([bytes(1, text('')), number(2, 17)]));
  return Buffer.concat([number(1, 8), bytes(7, Buffer.concat(graph)), opset]);
}

/** The body of a loop that changes nothing, and goes on if it was begun. */
function sameAgain(): Buffer {
  return Buffer.concat([
    node('Identity', ['goesOn'], 'goesOnStill'),
    node('Identity', ['carried'], 'carriedOn'),
    bytes(2, text('body')),
    value(11, 'round', INT64, []),
    value(11, 'goesOn', BOOL, [1]),
    value(11, 'carried', FLOAT, []),
    value(12, 'goesOnStill', BOOL, [1]),
    value(12, 'carriedOn', FLOAT, []),
  ]);
}

// The few messages of onnx.proto that the graph above needs, in protobuf's wire format. First argument: field number.

export const FLOAT = 1;
export const INT64 = 7;
const BOOL = 9;

export function node(
  operator: string,
  inputs: readonly string[],
  output: string,
  attributes: Record<string, number | Buffer> = {},
): Buffer {
  const fields = [
    ...inputs.map((input) => bytes(1, text(input))),
    bytes(2, text(output)),
    bytes(4, text(operator)),
    ...Object.entries(attributes).map(([name, entry]) =>
      bytes(5, Buffer.concat([bytes(1, text(name)), attribute(entry)])),
    ),
  ];
  return bytes(1, Buffer.concat(fields));
}

/** A whole number, or a graph in bytes. */
function attribute(entry: number | Buffer): Buffer {
  return typeof entry === 'number'
    ? Buffer.concat([number(3, entry), number(20, 2)])
    : Buffer.concat([bytes(6, entry), number(20, 5)]);
}

export function floats(name: string, dimensions: readonly number[], data: Float32Array): Buffer {
  return tensor(name, dimensions, FLOAT, Buffer.from(data.buffer));
}

export function longs(name: string, dimensions: readonly number[], data: readonly number[]): Buffer {
  return tensor(name, dimensions, INT64, Buffer.from(BigInt64Array.from(data.map(BigInt)).buffer));
}

function tensor(name: string, dimensions: readonly number[], type: number, data: Buffer): Buffer {
  const shape = dimensions.map((dimension) => number(1, dimension));
  return bytes(5, Buffer.concat([...shape, number(2, type), bytes(8, text(name)), bytes(9, data)]));
}

export function value(field: number, name: string, type: number, dimensions: readonly (string | number)[]): Buffer {
  const axes = dimensions.map((axis) => bytes(1, typeof axis === 'string' ? bytes(2, text(axis)) : number(1, axis)));
  const tensorType = Buffer.concat([number(1, type), bytes(2, Buffer.concat(axes))]);
  return bytes(field, Buffer.concat([bytes(1, text(name)), bytes(2, bytes(1, tensorType))]));
}

export function bytes(field: number, content: Buffer): Buffer {
  return Buffer.concat([varint(field * 8 + 2), varint(content.length), content]);
}

export function number(field: number, content: number): Buffer {
  return Buffer.concat([varint(field * 8), varint(content)]);
}

export function text(content: string): Buffer {
  return Buffer.from(content);
}

function varint(content: number): Buffer {
  const parts: number[] = [];
  for (let rest = content; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...parts, rest]);
    parts.push((rest % 128) + 128);
  }
}
