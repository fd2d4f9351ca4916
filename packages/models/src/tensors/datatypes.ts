import type { Datatype } from '@sluice/contracts';
import { fromHalf, toHalf } from './float16.js';

/** An element as JSON has it. */
export type JsonElement = number | boolean;

/** Elements of a tensor, one behind the other; BOOL as bytes, FP16 as the 16 bits. */
export type Elements =
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Float32Array
  | Float64Array;

/** What has to be known of an element type. */
export interface DatatypeFacts {
  /** Of an element. */
  readonly bytes: 1 | 2 | 4 | 8;
  /** The type in ONNX Runtime. */
  readonly native:
    | 'bool'
    | 'uint8'
    | 'uint16'
    | 'uint32'
    | 'uint64'
    | 'int8'
    | 'int16'
    | 'int32'
    | 'int64'
    | 'float16'
    | 'float32'
    | 'float64';
  /** Looks at bytes as elements; `offset` is a multiple of `bytes`. n.b. little-endian, as every machine that ONNX Runtime supports. */
  readonly view: (buffer: ArrayBufferLike, offset: number, length: number) => Elements;
  /** What is stored for a value of JSON; undefined when the type cannot hold it. */
  readonly store: (value: unknown) => number | bigint | undefined;
  /** The value in JSON of what is stored; undefined when JSON has none that is exact. */
  readonly load: (stored: number | bigint) => JsonElement | undefined;
  /** For messages: what the type holds. */
  readonly holds: string;
}

const finite = (stored: number | bigint): number | undefined => (Number.isFinite(stored) ? Number(stored) : undefined);

function integer(
  bytes: 1 | 2 | 4,
  native: DatatypeFacts['native'],
  view: DatatypeFacts['view'],
  [least, most]: readonly [number, number],
): DatatypeFacts {
  return {
    ...{ bytes, native, view, load: finite, holds: `whole numbers from ${least} to ${most}` },
    store: (value) =>
      Number.isInteger(value) && least <= Number(value) && Number(value) <= most ? Number(value) : undefined,
  };
}

const INEXACT = 'beyond 2^53 send base64, since numbers in JSON are not exact there';

/** @param least the least number that JSON can tell. */
function long(
  native: DatatypeFacts['native'],
  view: DatatypeFacts['view'],
  { least, range }: { readonly least: number; readonly range: string },
): DatatypeFacts {
  return {
    ...{ bytes: 8, native, view, holds: `whole numbers from ${range}; ${INEXACT}` },
    store: (value) => (Number.isSafeInteger(value) && Number(value) >= least ? BigInt(Number(value)) : undefined),
    load: (stored) => (Number.isSafeInteger(Number(stored)) ? Number(stored) : undefined),
  };
}

function real(
  bytes: 2 | 4 | 8,
  native: DatatypeFacts['native'],
  view: DatatypeFacts['view'],
  form: Pick<DatatypeFacts, 'load'> & { readonly most: string; readonly store: (value: number) => number | undefined },
): DatatypeFacts {
  return {
    ...{ bytes, native, view, load: form.load, holds: `numbers up to ${form.most}` },
    store: (value) => (typeof value === 'number' && Number.isFinite(value) ? form.store(value) : undefined),
  };
}

/** Every element type. */
export const DATATYPE_FACTS: Readonly<Record<Datatype, DatatypeFacts>> = {
  BOOL: {
    ...{ bytes: 1, native: 'bool', holds: 'true and false' },
    view: (...place) => new Uint8Array(...place),
    store: (value) => (typeof value === 'boolean' ? Number(value) : undefined),
    load: (stored) => stored !== 0,
  },
  UINT8: integer(1, 'uint8', (...place) => new Uint8Array(...place), [0, 255]),
  UINT16: integer(2, 'uint16', (...place) => new Uint16Array(...place), [0, 65_535]),
  UINT32: integer(4, 'uint32', (...place) => new Uint32Array(...place), [0, 4_294_967_295]),
  UINT64: long('uint64', (...place) => new BigUint64Array(...place), { least: 0, range: '0 to 2^64 - 1' }),
  INT8: integer(1, 'int8', (...place) => new Int8Array(...place), [-128, 127]),
  INT16: integer(2, 'int16', (...place) => new Int16Array(...place), [-32_768, 32_767]),
  INT32: integer(4, 'int32', (...place) => new Int32Array(...place), [-2_147_483_648, 2_147_483_647]),
  INT64: long('int64', (...place) => new BigInt64Array(...place), {
    least: Number.MIN_SAFE_INTEGER,
    range: '-2^63 to 2^63 - 1',
  }),
  FP16: real(2, 'float16', (...place) => new Uint16Array(...place), {
    most: '65504',
    store: (value) => (Math.abs(value) < 65_520 ? toHalf(value) : undefined),
    load: (stored) => finite(fromHalf(Number(stored))),
  }),
  FP32: real(4, 'float32', (...place) => new Float32Array(...place), {
    most: '3.4028235e38',
    store: (value) => (Number.isFinite(Math.fround(value)) ? value : undefined),
    // n.b. with the digits that a float has; the number that it is has some nine more.
    load: (stored) => (Number.isFinite(stored) ? Number((stored as number).toPrecision(9)) : undefined),
  }),
  FP64: real(8, 'float64', (...place) => new Float64Array(...place), {
    most: '1.8e308',
    store: (value) => value,
    load: finite,
  }),
};
