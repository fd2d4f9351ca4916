import { elementsOf, type Datatype } from '@sluice/contracts';
import { DATATYPE_FACTS, type JsonElement } from './datatypes.js';

/** A tensor whose name and type go without saying, as between a worker and its processes. */
export interface TensorBytes {
  /** Lengths of the axes, outermost first. */
  readonly shape: readonly number[];
  /** The elements, row-major and little-endian. */
  readonly bytes: Uint8Array;
}

/** What is wrong with the data of a tensor; reads on after the name of its field. */
export interface DataProblem {
  /** Position in the lists within lists; empty: all of it. */
  readonly at: readonly number[];
  readonly reason: string;
}

/** How many bytes a tensor takes. */
export function tensorSize(datatype: Datatype, shape: readonly number[]): number {
  return elementsOf(shape) * DATATYPE_FACTS[datatype].bytes;
}

/**
 * Reads the data of a tensor as a client may write it: base64 of the bytes, one list of all elements, or lists within lists as the
 * axes are. The caller has made sure that the shape is sensible and not too large.
 */
export function readTensorData(
  datatype: Datatype,
  shape: readonly number[],
  data: unknown,
): { readonly bytes: Buffer } | DataProblem {
  if (typeof data === 'string') return decodeTensorData(datatype, shape, data);
  if (!Array.isArray(data)) return { at: [], reason: 'must be a list, or base64' };
  const isNested = shape.length > 1 && Array.isArray(data[0]);
  return packElements(datatype, isNested ? shape : [elementsOf(shape)], data);
}

/** Reads base64 of the bytes of a tensor. */
export function decodeTensorData(
  datatype: Datatype,
  shape: readonly number[],
  base64: string,
): { readonly bytes: Buffer } | DataProblem {
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.toString('base64') !== base64)
    return { at: [], reason: 'must be base64, padded and without other characters' };
  const expected = tensorSize(datatype, shape);
  if (bytes.length !== expected) {
    const why = `a tensor ${datatype} of the shape [${shape.join(', ')}] has ${expected}`;
    return { at: [], reason: `holds ${bytes.length} bytes, but ${why}` };
  }
  // n.b. a native library that was compiled to expect 0 and 1 may do anything with others.
  if (datatype === 'BOOL' && bytes.some((byte) => byte > 1)) {
    return { at: [], reason: 'holds bytes other than 0 and 1, which BOOL does not' };
  }
  return { bytes };
}

function packElements(
  datatype: Datatype,
  shape: readonly number[],
  data: readonly unknown[],
): { readonly bytes: Buffer } | DataProblem {
  const { bytes: size, view, store, holds } = DATATYPE_FACTS[datatype];
  const length = elementsOf(shape);
  const buffer = new ArrayBuffer(length * size);
  const elements = view(buffer, 0, length);
  let next = 0;

  function fill(list: unknown, depth: number): DataProblem | undefined {
    const axis = shape[depth] ?? 0;
    if (!Array.isArray(list)) return { at: [], reason: `must be a list of ${axis}` };
    if (list.length !== axis) return { at: [], reason: `holds ${counted(list.length)}, the shape says ${axis}` };
    const isInnermost = depth === shape.length - 1;
    for (let index = 0; index < axis; index++) {
      const problem = isInnermost ? put(list[index]) : fill(list[index], depth + 1);
      if (problem) return { ...problem, at: [index, ...problem.at] };
    }
    return undefined;
  }

  function put(value: unknown): DataProblem | undefined {
    const stored = store(value);
    if (stored === undefined) return { at: [], reason: `is ${shown(value)}; ${datatype} holds ${holds}` };
    elements[next++] = stored;
    return undefined;
  }

  return fill(data, 0) ?? { bytes: Buffer.from(buffer) };
}

function counted(elements: number): string {
  return elements === 1 ? '1 element' : `${elements} elements`;
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  if (typeof value === 'string') return 'a text';
  return String(value);
}

/** The elements as JSON has them; undefined when it has no exact value for one of them: it is not finite, or beyond 2^53. */
export function jsonElements(datatype: Datatype, shape: readonly number[], base64: string): JsonElement[] | undefined {
  const { bytes: size, view, load } = DATATYPE_FACTS[datatype];
  const length = elementsOf(shape);
  const buffer = new ArrayBuffer(length * size);
  Buffer.from(buffer).write(base64, 'base64');
  const stored = view(buffer, 0, length);
  const elements: JsonElement[] = [];
  for (let index = 0; index < length; index++) {
    const element = load(stored[index] as number | bigint);
    if (element === undefined) return undefined;
    elements.push(element);
  }
  return elements;
}
