import { describe, expect, it } from '@jest/globals';
import type { TextModelFile } from '@sluice/contracts';
import { characterModel } from '../../test/fixtures.js';
import { differenceOf, isAgreement } from './output-difference.js';

const { file: embedding } = characterModel().model;
const classification: TextModelFile = { ...embedding, task: 'text-classification', labels: ['cat', 'dog', 'cow'] };
const of = (...numbers: readonly number[]) => Float32Array.from(numbers);

describe('the difference of two embeddings', () => {
  it('is their cosine and the greatest difference of a number', () => {
    expect(differenceOf(embedding, of(3, 4), of(3, 4))).toEqual({ greatest: 0, cosine: 1 });
    expect(differenceOf(embedding, of(1, 0), of(0, 2))).toEqual({ greatest: 2, cosine: 0 });
    expect(differenceOf(embedding, of(1, 2), of(-1, -2))).toEqual({ greatest: 4, cosine: -1 });
    expect(differenceOf(embedding, of(1, 1), of(1, 0)).cosine).toBeCloseTo(Math.SQRT1_2, 6);
  });

  it('has a cosine also where there is no angle', () => {
    expect(differenceOf(embedding, of(0, 0), of(0, 0)).cosine).toBe(1);
    expect(differenceOf(embedding, of(0, 0), of(0, 1)).cosine).toBe(0);
  });

  it('is an agreement up to the tolerance, and never with a number that is none', () => {
    const difference = differenceOf(embedding, of(0, 1), of(0.5, 1));
    expect([0.5, 0.4].map((tolerance) => isAgreement(difference, tolerance))).toEqual([true, false]);
    expect(isAgreement(differenceOf(embedding, of(1), of(NaN)), 1e9)).toBe(false);
  });
});

describe('the difference of two classifications', () => {
  it('is their best labels and the greatest difference of a score', () => {
    const { greatest, labels } = differenceOf(classification, of(0.25, 0.75, 0), of(0.5, 0.25, 0.25));
    expect([greatest, labels]).toEqual([0.5, { served: 'dog', shadow: 'cat' }]);
    expect(differenceOf(classification, of(0.5, 0.5, 0), of(0.5, 0.5, 0)).labels).toEqual({
      served: 'cat',
      shadow: 'cat',
    });
  });

  it('is no agreement when the best labels differ, however little the scores do', () => {
    expect(isAgreement(differenceOf(classification, of(0.5, 0.25, 0), of(0.5, 0.5, 0)), 0.25)).toBe(true);
    expect(isAgreement(differenceOf(classification, of(0.5, 0.25, 0), of(0.5, 0.75, 0)), 0.5)).toBe(false);
  });
});
