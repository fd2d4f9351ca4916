import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { fromHalf, toHalf } from './float16.js';

/** Halves in the order of their values, from 0 to the greatest that is finite. */
const UP_TO_INFINITY = 0x7c00;

describe('halves', () => {
  it('become the same bits again, whichever they are', () => {
    const all = Array.from({ length: 0x10000 }, (_, bits) => bits);
    const isSame = (bits: number): boolean => {
      const value = fromHalf(bits);
      return Number.isNaN(value) ? Number.isNaN(fromHalf(toHalf(value))) : toHalf(value) === bits;
    };
    expect(all.filter((bits) => !isSame(bits))).toEqual([]);
  });

  it.each([
    [0x0000, 0],
    [0x0001, 2 ** -24],
    [0x03ff, 1023 * 2 ** -24],
    [0x0400, 2 ** -14],
    [0x3c00, 1],
    [0x3555, 0.333251953125],
    [0x7bff, 65_504],
    [0x7c00, Infinity],
    [0xc000, -2],
  ])('%i is %d', (bits, value) => expect(fromHalf(bits)).toBe(value));

  it('are the nearest to a number; of two the one that is even', () => {
    const half = fc.integer({ min: 0, max: UP_TO_INFINITY - 2 });
    fc.assert(
      fc.property(half, fc.double({ min: 0, max: 1, noNaN: true }), fc.boolean(), (bits, part, isNegative) => {
        const [below, above] = [fromHalf(bits), fromHalf(bits + 1)];
        const value = below + part * (above - below);
        const middle = (below + above) / 2;
        const nearest = value < middle || (value === middle && bits % 2 === 0) ? bits : bits + 1;
        expect(toHalf(isNegative ? -value : value)).toBe(isNegative ? nearest | 0x8000 : nearest);
      }),
      { numRuns: 2_000 },
    );
  });

  it('are not rounded twice, nor is what is too great', () => {
    // A float would have made this the middle of two halves, and the even one is the wrong one.
    expect(toHalf(1 + 2 ** -11 + 2 ** -40)).toBe(0x3c01);
    expect(toHalf(65_519.999)).toBe(0x7bff);
    expect(toHalf(65_520)).toBe(UP_TO_INFINITY);
  });
});
