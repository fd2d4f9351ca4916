import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { buildDoubleArrayTrie, type DoubleArrayTrie } from './double-array-trie.js';

const SYMBOLS = 6;

function lookUp({ base, check, value }: DoubleArrayTrie, key: readonly number[]): number {
  let node = 0;
  for (const symbol of key) {
    const child = (base[node] ?? 0) + symbol;
    if (check[child] !== node) return -1;
    node = child;
  }
  return value[node] ?? -1;
}

const key = fc.array(fc.integer({ min: 1, max: SYMBOLS }), { maxLength: 6 });

describe('the double array trie', () => {
  it('finds exactly the keys it was built from', () => {
    fc.assert(
      fc.property(fc.array(key, { maxLength: 60 }), fc.array(key), (keys, others) => {
        const trie = buildDoubleArrayTrie(
          keys.map((each, index) => [each, index] as const),
          SYMBOLS,
        );
        const expected = new Map(keys.map((each, index) => [each.join(), index]));
        expected.delete('');
        for (const each of [...keys, ...others]) expect(lookUp(trie, each)).toBe(expected.get(each.join()) ?? -1);
      }),
    );
  });

  it('has room for every symbol after every base', () => {
    fc.assert(
      fc.property(fc.array(key, { maxLength: 60 }), (keys) => {
        const { base, check } = buildDoubleArrayTrie(
          keys.map((each, index) => [each, index] as const),
          SYMBOLS,
        );
        expect(check.length).toBeGreaterThan(Math.max(...base) + SYMBOLS);
      }),
    );
  });
});
