import { describe, expect, it } from '@jest/globals';
import { padSequences } from './padding.js';

describe('padding', () => {
  it('fills up to the longest text with 0 and masks what it filled', () => {
    const { inputIds, attentionMask, shape } = padSequences([Int32Array.of(7, 8, 9), Int32Array.of(5)]);
    expect(shape).toEqual([2, 3]);
    expect([...inputIds]).toEqual([7n, 8n, 9n, 5n, 0n, 0n]);
    expect([...attentionMask]).toEqual([1n, 1n, 1n, 1n, 0n, 0n]);
  });

  it('leaves one masked column for texts without tokens', () => {
    const { attentionMask, shape } = padSequences([new Int32Array(0), new Int32Array(0)]);
    expect(shape).toEqual([2, 1]);
    expect([...attentionMask]).toEqual([0n, 0n]);
  });

  it('marks a token with id 0 as a token', () => {
    expect([...padSequences([Int32Array.of(0)]).attentionMask]).toEqual([1n]);
  });
});
