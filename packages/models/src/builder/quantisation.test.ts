import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { quantiseColumns, quantiseRows } from './quantisation.js';

const COLUMNS = 3;
const matrix = fc
  .array(
    fc.integer({ min: -100_000, max: 100_000 }).map((thousandths) => thousandths / 1000),
    { minLength: COLUMNS, maxLength: 30 },
  )
  .map((numbers) => Float32Array.from(numbers.slice(0, numbers.length - (numbers.length % COLUMNS))));

describe('quantisation', () => {
  it('by rows is off by at most half a step', () => {
    fc.assert(
      fc.property(matrix, (numbers) => {
        const { values, scales } = quantiseRows(numbers, COLUMNS);
        numbers.forEach((number, index) => {
          const scale = scales[Math.floor(index / COLUMNS)] ?? 0;
          expect(Math.abs((values[index] ?? 0) * scale - number)).toBeLessThanOrEqual(scale * 0.5001);
        });
      }),
    );
  });

  it('by columns is off by at most half a step', () => {
    fc.assert(
      fc.property(matrix, (numbers) => {
        const { values, scales } = quantiseColumns(numbers, COLUMNS);
        numbers.forEach((number, index) => {
          const scale = scales[index % COLUMNS] ?? 0;
          expect(Math.abs((values[index] ?? 0) * scale - number)).toBeLessThanOrEqual(scale * 0.5001);
        });
      }),
    );
  });

  it('by columns keeps the sum of two products with unsigned bytes within 16 bits', () => {
    fc.assert(
      fc.property(matrix, (numbers) => {
        const { values } = quantiseColumns(numbers, COLUMNS);
        for (let row = 0; row < numbers.length / COLUMNS; row += 2) {
          for (let column = 0; column < COLUMNS; column++) {
            const first = Math.abs(values[row * COLUMNS + column] ?? 0);
            const second = Math.abs(values[(row + 1) * COLUMNS + column] ?? 0);
            expect(255 * (first + second)).toBeLessThanOrEqual(32_767);
          }
        }
      }),
    );
  });

  it('keeps a matrix of zeros zero', () => {
    const { values } = quantiseColumns(new Float32Array(6), COLUMNS);
    expect([...values]).toEqual([0, 0, 0, 0, 0, 0]);
  });
});
