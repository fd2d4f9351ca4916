import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AcceptedMessage, TensorInput, TensorMessage } from '@sluice/contracts';
import { acceptedMessage } from './fixtures.js';
import type { FurtherModel } from './rig.js';
import { bytes, FLOAT, INT64, longs, node, number, text, value } from './tiny-model.js';

/** Elements that count as one token. */
const ELEMENTS_PER_TOKEN = 2;

/**
 * A model of tensors. It doubles `x` (FP32, any length), and multiplies two matrices of `size` × `size` (INT64 `[1]`) for nothing:
 * with 8,000 that takes many seconds, with 16,000 two gigabytes. It refuses a `size` below 0. `wide` has `size` rows of
 * 1,000 zeros.
 */
export const squareModel: FurtherModel = {
  name: 'square',
  async write(repository) {
    const folder = join(repository, 'square', '1');
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'model.onnx'), squareOnnx());
    await writeFile(join(folder, 'model.yaml'), YAML);
  },
};

const YAML = `
name: square
task: tensors
description: Doubles, for tests
licence: Apache-2.0
source: The tests
precision: fp32
inputs: [{ name: size, datatype: INT64, shape: [1] }, { name: x, datatype: FP32, shape: [-1] }]
outputs: [{ name: y, datatype: FP32, shape: [-1] }, { name: wide, datatype: FP32, shape: [-1, 1000] }]
elementsPerToken: ${ELEMENTS_PER_TOKEN}
maxInputTokens: 1000
maxOutputTokens: 1000000
`;

function squareOnnx(): Buffer {
  const graph = [
    node('Concat', ['size', 'size'], 'shape', { axis: 0 }),
    node('ConstantOfShape', ['shape'], 'square'),
    node('MatMul', ['square', 'square'], 'product'),
    node('ReduceSum', ['product'], 'nothing', { keepdims: 0 }),
    node('Add', ['x', 'x'], 'doubled'),
    node('Add', ['doubled', 'nothing'], 'y'),
    node('Concat', ['size', 'thousand'], 'wideShape', { axis: 0 }),
    node('ConstantOfShape', ['wideShape'], 'wide'),
    bytes(2, text('square')),
    longs('thousand', [1], [1000]),
    value(11, 'size', INT64, [1]),
    value(11, 'x', FLOAT, ['length']),
    value(12, 'y', FLOAT, ['length']),
    value(12, 'wide', FLOAT, ['rows', 1000]),
  ];
  const opset = bytes(8, Buffer.concat([bytes(1, text('')), number(2, 17)]));
  return Buffer.concat([number(1, 8), bytes(7, Buffer.concat(graph)), opset]);
}

/** A job for the model, counted as the gateway does. */
export function squareJob(size: number, x: readonly number[], overrides: Partial<AcceptedMessage> = {}) {
  const tensors: TensorMessage[] = [
    { name: 'x', datatype: 'FP32', shape: [x.length], data: base64(Float32Array.from(x)) },
    { name: 'size', datatype: 'INT64', shape: [1], data: base64(BigInt64Array.of(BigInt(size))) },
  ];
  const input: TensorInput = { tensors, outputEncoding: 'json' };
  const inputTokens = Math.ceil((x.length + 1) / ELEMENTS_PER_TOKEN);
  const held = { inputTokens, maxOutputTokens: 1_000_000, reservedTokens: inputTokens };
  return acceptedMessage({ model: 'square', class: 'standard', input, ...held, ...overrides });
}

function base64({ buffer, byteOffset, byteLength }: Float32Array | BigInt64Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('base64');
}
