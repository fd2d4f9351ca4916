import { describe, expect, it } from '@jest/globals';
import { jobOutputSchema, type TextModelFile } from '@sluice/contracts';
import type { TextModel } from './model.js';
import { decodeOutput } from './output.js';

function modelOf(file: Pick<TextModelFile, 'task' | 'labels'> & { dimensions: number }): TextModel {
  const { task, labels, dimensions } = file;
  return { file: { task, labels, output: { name: 'rows', dimensions } } } as unknown as TextModel;
}

const embedding = modelOf({ task: 'embedding', labels: undefined, dimensions: 2 });
const classifier = modelOf({
  task: 'text-classification',
  labels: ['a', 'b', 'c', 'd', 'e', 'f'],
  dimensions: 6,
});

describe('decoding an output', () => {
  it('gives each embedding as base64 of little-endian float32', () => {
    const output = decodeOutput(embedding, Float32Array.of(0.5, -1, 2, 0), 2);
    expect(jobOutputSchema.parse(output)).toEqual(output);
    expect(output).toMatchObject({ task: 'embedding', dimensions: 2 });
    const rows = output.task === 'embedding' ? output.embeddings : [];
    const numbers = rows
      .map((row) => Buffer.from(row, 'base64'))
      .map((row) => [row.readFloatLE(0), row.readFloatLE(4)]);
    expect(numbers).toEqual([
      [0.5, -1],
      [2, 0],
    ]);
  });

  it('reads rows that begin inside a larger buffer', () => {
    const rows = Float32Array.of(9, 9, 9, 0.5, -1).subarray(3);
    expect(decodeOutput(embedding, rows, 1)).toEqual(decodeOutput(embedding, Float32Array.of(0.5, -1), 1));
  });

  it('gives the five most probable labels, best first, equal ones in the order of the labels', () => {
    const output = decodeOutput(classifier, Float32Array.of(0.1, 0.3, 0.05, 0.3, 0.2, 0.15), 1);
    const [best = []] = output.task === 'text-classification' ? output.classifications : [];
    expect(best.map(({ label }) => label)).toEqual(['b', 'd', 'e', 'f', 'a']);
    expect(best[0]?.score).toBeCloseTo(0.3);
  });

  it('keeps probabilities that rounding took out of 0 … 1 inside', () => {
    const output = decodeOutput(classifier, Float32Array.of(1.0000001, -1e-9, 0, 0, 0, 0), 1);
    expect(jobOutputSchema.safeParse(output).success).toBe(true);
  });

  it('fails when the rows do not match the number of texts', () => {
    expect(() => decodeOutput(embedding, new Float32Array(3), 2)).toThrow(
      expect.objectContaining({ code: 'inference_failed' }),
    );
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('fails when a number is %d', (bad) => {
    expect(() => decodeOutput(embedding, Float32Array.of(1, bad), 1)).toThrow(
      expect.objectContaining({ code: 'inference_failed' }),
    );
  });
});
