import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createByteTokenizer } from './byte-tokenizer.js';

describe('the byte tokenizer', () => {
  const tokenizer = createByteTokenizer();

  it('gives one token per UTF-8 byte', () => {
    expect([...tokenizer.encode('a\né')]).toEqual([0x61, 0x0a, 0xc3, 0xa9]);
    expect([...tokenizer.encode('')]).toEqual([]);
  });

  it('takes a lone surrogate for U+FFFD', () => {
    expect([...tokenizer.encode('\ud800')]).toEqual([0xef, 0xbf, 0xbd]);
  });

  it('counts exactly as many tokens as it encodes, lone surrogates included', () => {
    const codeUnits = fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units));
    fc.assert(
      fc.property(codeUnits, (text) => {
        expect(tokenizer.count(text)).toBe(tokenizer.encode(text).length);
      }),
    );
  });
});
