import { describe, expect, it } from '@jest/globals';
import type { TensorSpec } from '@sluice/contracts';
import { leastOutputTokens, misfits, tensorTokens, type TensorFacts } from './tensor-fit.js';

const inputs: TensorSpec[] = [
  { name: 'image', datatype: 'FP32', shape: [-1, 3, 4] },
  { name: 'scale', datatype: 'FP64', shape: [] },
];
const image: TensorFacts = { name: 'image', datatype: 'FP32', shape: [5, 3, 4] };
const scale: TensorFacts = { name: 'scale', datatype: 'FP64', shape: [] };

function reasons(...tensors: readonly TensorFacts[]): readonly string[] {
  return misfits({ inputs }, tensors).map(({ field, reason }) => `${field} ${reason}`);
}

describe('tensors for a model', () => {
  it('fit in any order, free axes of any length', () => {
    expect(reasons(scale, image)).toEqual([]);
    expect(reasons({ ...image, shape: [1, 3, 4] }, scale)).toEqual([]);
  });

  it.each<[string, readonly TensorFacts[], string]>([
    [
      'an unknown name',
      [image, scale, { ...scale, name: 'mask' }],
      'inputs.2.name names no input of the model; it has image, scale',
    ],
    ['a name twice', [image, scale, image], 'inputs.2.name names the input image a second time'],
    ['a missing one', [image], 'inputs must hold the input scale'],
    ['another type', [{ ...image, datatype: 'FP64' }, scale], 'inputs.0.datatype must be FP32 for the input image'],
    [
      'a longer axis',
      [{ ...image, shape: [1, 3, 5] }, scale],
      'inputs.0.shape is [1, 3, 5]; the input image takes [-1, 3, 4]',
    ],
    ['fewer axes', [{ ...image, shape: [3, 4] }, scale], 'inputs.0.shape is [3, 4]; the input image takes [-1, 3, 4]'],
    ['axes for a scalar', [image, { ...scale, shape: [1] }], 'inputs.1.shape is [1]; the input scale takes []'],
  ])('are refused: %s', (_name, tensors, expected) => expect(reasons(...tensors)).toEqual([expected]));

  it.each([
    ['what those of fixed shape have', [[3, 4], [2]], 5, 3],
    ['nothing of those with a free axis', [[-1, 400], [1]], 5, 1],
    ['at least one', [[-1]], 5, 1],
    ['a scalar as one element', [[], []], 1, 2],
  ])('come out as at least so many tokens: %s', (_what, shapes, elementsPerToken, expected) => {
    const outputs = shapes.map((shape) => ({ name: 'y', datatype: 'FP32' as const, shape }));
    expect(leastOutputTokens({ outputs, elementsPerToken })).toBe(expected);
  });

  it('count as their elements divided, rounded up, and never as nothing', () => {
    expect(tensorTokens({ elementsPerToken: 1 }, [image, scale])).toBe(61);
    expect(tensorTokens({ elementsPerToken: 61 }, [image, scale])).toBe(1);
    expect(tensorTokens({ elementsPerToken: 60 }, [image, scale])).toBe(2);
    expect(tensorTokens({ elementsPerToken: 1 }, [{ shape: [0, 3] }])).toBe(1);
  });
});
