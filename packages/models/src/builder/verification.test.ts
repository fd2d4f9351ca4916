import { describe, expect, it } from '@jest/globals';
import { problemsOf, type Verification } from './verification.js';

const tolerance = { maxError: 1e-5, minCosine: 0.999 };
const good: Verification = { maxError: 1e-6, minCosine: 0.9999, tokenized: 3, compared: 3, differentIds: [] };

describe('the check of a built model', () => {
  it('accepts a model within the tolerance', () => {
    expect(problemsOf(good, tolerance)).toEqual([]);
  });

  it.each([
    ['a larger error', { maxError: 2e-5 }, /largest error is 0\.00002, allowed is 0\.00001/],
    ['an error that is not a number', { maxError: Number.NaN }, /largest error is NaN/],
    ['a smaller cosine', { minCosine: 0.99 }, /smallest cosine is 0\.99/],
    ['a cosine that is not a number', { minCosine: Number.NaN }, /smallest cosine is NaN/],
    ['other token ids', { differentIds: ['"abc"'] }, /1 texts have other token ids, first "abc"/],
    ['nothing to compare', { compared: 0 }, /no reference value was compared/],
  ])('names %s', (_, change, problem) => {
    expect(problemsOf({ ...good, ...change }, tolerance)).toEqual([expect.stringMatching(problem)]);
  });
});
