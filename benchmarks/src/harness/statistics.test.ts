import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { percentile, percentiles, spread } from './statistics.js';

describe('percentiles', () => {
  it('takes the nearest rank, whatever the order', () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect(percentiles(values)).toEqual({ p50: 50, p90: 90, p99: 99 });
  });

  it('of one value is that value', () => {
    expect(percentiles([7])).toEqual({ p50: 7, p90: 7, p99: 7 });
  });

  it('leaves exactly the share asked for at or below it', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer(), { minLength: 1 }),
        fc.integer({ min: 1, max: 100 }),
        (values, percent) => {
          const sorted = Float64Array.from(values).sort();
          const value = percentile(sorted, percent / 100);
          const atOrBelow = values.filter((other) => other <= value).length;
          expect(atOrBelow).toBe(Math.max(1, Math.ceil(values.length * (percent / 100))));
        },
      ),
    );
  });

  it('refuses no values', () => {
    expect(() => percentiles([])).toThrow(RangeError);
  });
});

describe('spread', () => {
  it('gives the middle of an odd number of values and their range', () => {
    expect(spread([9, 1, 5])).toEqual({ median: 5, min: 1, max: 9 });
  });

  it('gives the mean of the middle two of an even number', () => {
    expect(spread([10, 1, 4, 2])).toEqual({ median: 3, min: 1, max: 10 });
  });

  it('refuses no values', () => {
    expect(() => spread([])).toThrow(RangeError);
  });
});
