import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MAX_MARKS_TOGETHER, normalizeCompatibly } from './normalization.js';

const marks = fc.constantFrom('\u0301', '\u0316', '\u0334', '\uff9e', '\u3099', '\u{1d165}');
const letters = fc.constantFrom('a', 'ﬁ', '\u30ab', '\u1112', '\u1161', ' ', '\u{1f600}', '\ud800');
const runs = fc.tuple(letters, fc.array(marks, { maxLength: MAX_MARKS_TOGETHER }));
const text = fc
  .array(runs, { maxLength: 12 })
  .map((each) => each.map(([letter, run]) => letter + run.join('')).join(''));

describe('normalization', () => {
  it('is NFKC as long as no run of marks is longer than the bound', () => {
    fc.assert(
      fc.property(text, (each) => {
        expect(normalizeCompatibly(each)).toBe(each.normalize('NFKC'));
      }),
    );
  });

  it('normalizes a longer run of marks in groups', () => {
    const first = '\u0301\u0316'.repeat(MAX_MARKS_TOGETHER / 2);
    const second = '\u0301\u0316'.repeat(10);
    expect(normalizeCompatibly(`q${first}${second}b`)).toBe(
      `q${first}`.normalize('NFKC') + `${second}b`.normalize('NFKC'),
    );
  });

  it('takes a million unordered marks, which would take NFKC many minutes', () => {
    const hostile = `q${'\u0334\u0316\u0301'.repeat(350_000)}`;
    expect(normalizeCompatibly(hostile).length).toBe(hostile.length);
  });
});
