import { describe, expect, it } from '@jest/globals';
import { DATATYPES, elementsOf, type Datatype } from '@sluice/contracts';
import fc from 'fast-check';
import { fromHalf } from './float16.js';
import { jsonElements, readTensorData, tensorSize } from './tensor-data.js';

/** What each type holds, as JSON has it. */
const ELEMENTS: Readonly<Record<Datatype, fc.Arbitrary<number | boolean>>> = {
  BOOL: fc.boolean(),
  UINT8: fc.integer({ min: 0, max: 255 }),
  UINT16: fc.integer({ min: 0, max: 65_535 }),
  UINT32: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  UINT64: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  INT8: fc.integer({ min: -128, max: 127 }),
  INT16: fc.integer({ min: -32_768, max: 32_767 }),
  INT32: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  INT64: fc.maxSafeInteger(),
  FP16: fc.integer({ min: 0, max: 0x7bff }).map((bits) => fromHalf(bits)),
  FP32: fc.float({ noNaN: true, noDefaultInfinity: true }).map((value) => Number(value.toPrecision(9))),
  FP64: fc.double({ noNaN: true, noDefaultInfinity: true }),
};

const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 });

/** A tensor of every type in turn: its shape, and its elements in one list. */
const tensors = fc.constantFrom(...DATATYPES).chain((datatype) =>
  shapes.chain((shape) => {
    const length = elementsOf(shape);
    const elements = fc.array(ELEMENTS[datatype], { minLength: length, maxLength: length });
    return fc.record({ datatype: fc.constant(datatype), shape: fc.constant(shape), elements });
  }),
);

function nested(shape: readonly number[], elements: readonly unknown[]): unknown {
  const [axis = 1, ...inner] = shape;
  if (inner.length === 0) return elements;
  const size = elementsOf(inner);
  return Array.from({ length: axis }, (_, at) => nested(inner, elements.slice(at * size, (at + 1) * size)));
}

function read(datatype: Datatype, shape: readonly number[], data: unknown): Buffer {
  const found = readTensorData(datatype, shape, data);
  if ('bytes' in found) return found.bytes;
  throw new Error(found.reason);
}

function refused(datatype: Datatype, shape: readonly number[], data: unknown): string {
  const found = readTensorData(datatype, shape, data);
  return 'bytes' in found ? 'taken' : `${found.at.join('.')} ${found.reason}`.trim();
}

/** n.b. JSON has one zero. */
const oneZero = (element: number | boolean) => (element === 0 ? 0 : element);

describe('the data of a tensor', () => {
  it('is the same as one list, as lists within lists and as base64, and comes back as it was', () => {
    fc.assert(
      fc.property(tensors, ({ datatype, shape, elements }) => {
        const bytes = read(datatype, shape, elements);
        expect(bytes).toHaveLength(tensorSize(datatype, shape));
        expect(read(datatype, shape, nested(shape, elements))).toEqual(bytes);
        expect(read(datatype, shape, bytes.toString('base64'))).toEqual(bytes);
        const back = jsonElements(datatype, shape, bytes.toString('base64'));
        expect(back?.map(oneZero)).toEqual(elements.map(oneZero));
      }),
      { numRuns: 500 },
    );
  });

  it('is little-endian', () => {
    expect([...read('INT32', [2], [1, -2])]).toEqual([1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff]);
    expect([...read('UINT64', [1], [2 ** 40])]).toEqual([0, 0, 0, 0, 0, 1, 0, 0]);
    expect([...read('FP16', [], [1])]).toEqual([0x00, 0x3c]);
  });

  it.each<[string, Datatype, number[], unknown, string]>([
    ['a number above', 'UINT8', [3], [1, 2, 300], '2 is 300; UINT8 holds whole numbers from 0 to 255'],
    ['a number below', 'INT8', [2, 1], [[0], [-129]], '1.0 is -129; INT8 holds whole numbers from -128 to 127'],
    ['a negative one', 'UINT64', [1], [-1], '0 is -1; UINT64 holds whole numbers from 0 to 2^64 - 1; beyond 2^53 send'],
    ['a fraction', 'INT32', [1], [1.5], '0 is 1.5; INT32 holds whole numbers'],
    ['a text', 'FP32', [1], ['1'], '0 is a text; FP32 holds numbers'],
    ['NaN as text', 'FP64', [1], ['NaN'], '0 is a text'],
    ['null', 'FP64', [1], [null], '0 is null'],
    ['an object', 'FP64', [1], [{}], '0 is an object'],
    ['an infinite number', 'FP64', [1], [JSON.parse('1e400')], '0 is Infinity'],
    ['a number that is infinite as a float', 'FP32', [1], [1e39], '0 is 1e+39; FP32 holds numbers up to 3.4028235e38'],
    ['one that is infinite as a half', 'FP16', [1], [65_520], '0 is 65520; FP16 holds numbers up to 65504'],
    ['a number for true', 'BOOL', [1], [1], '0 is 1; BOOL holds true and false'],
    ['true for a number', 'UINT8', [1], [true], '0 is true; UINT8 holds'],
    [
      'an inexact number',
      'INT64',
      [1],
      [2 ** 53],
      '0 is 9007199254740992; INT64 holds whole numbers from -2^63 to 2^63 - 1; beyond 2^53 send base64',
    ],
    ['too few', 'FP32', [2, 2], [1, 2, 3], 'holds 3 elements, the shape says 4'],
    ['too many', 'FP32', [], [1, 2], 'holds 2 elements, the shape says 1'],
    ['none', 'FP32', [2], [], 'holds 0 elements, the shape says 2'],
    ['a ragged row', 'FP32', [2, 2], [[1, 2], [3]], '1 holds 1 element, the shape says 2'],
    ['a row that is a number', 'FP32', [2, 2], [[1, 2], 3], '1 must be a list of 2'],
    ['lists too deep', 'FP32', [2], [[1], [2]], '0 is a list; FP32 holds'],
    ['lists not deep enough', 'FP32', [1, 1, 1], [[1]], '0.0 must be a list of 1'],
    ['a scalar by itself', 'FP32', [], 1, 'must be a list, or base64'],
    ['an object', 'FP32', [1], { 0: 1 }, 'must be a list, or base64'],
    ['nothing', 'FP32', [1], undefined, 'must be a list, or base64'],
    ['short base64', 'FP32', [2], 'AAAAAA==', 'holds 4 bytes, but a tensor FP32 of the shape [2] has 8'],
    [
      'base64 for another type',
      'INT64',
      [2],
      'AAAAAAAAAAA=',
      'holds 8 bytes, but a tensor INT64 of the shape [2] has 16',
    ],
    ['base64 with a line break', 'FP32', [1], 'AAA\nAAA==', 'must be base64'],
    ['base64 without padding', 'FP32', [1], 'AAAAAA', 'must be base64'],
    ['base64 of the URL kind', 'FP32', [1], '_____w==', 'must be base64'],
    ['bytes that are no truth', 'BOOL', [3], 'AAEC', 'holds bytes other than 0 and 1'],
  ])('is refused: %s', (_name, datatype, shape, data, expected) => {
    expect(refused(datatype, shape, data)).toContain(expected);
  });

  it.each<[string, Datatype, Buffer]>([
    ['NaN', 'FP32', Buffer.from(Float32Array.of(1, NaN).buffer)],
    ['an infinite number', 'FP64', Buffer.from(Float64Array.of(1, -Infinity).buffer)],
    ['an infinite half', 'FP16', Buffer.from(Uint16Array.of(0, 0x7c00).buffer)],
    ['a number beyond 2^53', 'INT64', Buffer.from(BigInt64Array.of(0n, 2n ** 53n).buffer)],
    ['a number below that', 'INT64', Buffer.from(BigInt64Array.of(0n, -(2n ** 62n)).buffer)],
    ['a number without a sign beyond 2^53', 'UINT64', Buffer.from(BigUint64Array.of(0n, 2n ** 64n - 1n).buffer)],
  ])('has no form in JSON: %s', (_name, datatype, bytes) => {
    expect(jsonElements(datatype, [2], bytes.toString('base64'))).toBeUndefined();
  });

  it('may have no elements, as outputs do', () => {
    expect(jsonElements('FP32', [0, 3], '')).toEqual([]);
  });
});
