import type { TensorBytes } from '@sluice/models';
import {
  FRAME,
  type ResultReport,
  type RunOrder,
  type TensorResultReport,
  type TensorRunOrder,
} from './inference-protocol.js';

/**
 * One message as bytes. The serialization of V8, which a forked child's channel uses, would cost the worker about twice the CPU
 * for each run (decision 13). Numbers are little-endian, as on every machine that onnxruntime-node runs on.
 *
 * ```
 * u32 kind │ u32 id │ u32 bytes of the body │ u32 0 │ body
 *
 * run:        u32 model │ u32 texts │ u32 0 │ u32 0 │ u32 tokens of each text … │ i32 ids …
 * result:     f64 computeMs │ f64 cpuMs │ f64 memoryBytes │ f32 rows …, or tensors
 * runTensors: u32 model │ u32 0 │ tensors
 *
 * tensors:    u32 tensors │ u32 0 │ for each: u32 axes │ u32 bytes │ u32 axis … │ its bytes
 * ```
 *
 * Each tensor, and its bytes within it, begins at a multiple of 8.
 */
export interface Frame {
  readonly kind: number;
  /** Of the run; 0 for other frames. */
  readonly id: number;
  /** Starts at a multiple of 8 within its buffer. */
  readonly body: Buffer;
}

export const HEADER_BYTES = 16;
/** Longer than the inputs and outputs of any sensible run; beyond it the sender has gone mad. */
const MOST_BODY_BYTES = 2 ** 30;
const RUN_HEAD_WORDS = 4;
const RESULT_HEAD_NUMBERS = 3;
const RESULT_HEAD_BYTES = 8 * RESULT_HEAD_NUMBERS;
const RUN_TENSORS_HEAD_BYTES = 8;
const TENSORS_HEAD_BYTES = 8;
const WORD_BYTES = 4;
const ALIGNMENT = 8;

/** The length of a frame's body, from its header. Throws when it cannot be one. */
export function bodyBytesOf(header: Buffer): number {
  const bodyBytes = readWord(header, 2);
  if (readWord(header, 3) === 0 && bodyBytes <= MOST_BODY_BYTES) return bodyBytes;
  throw new Error('what was read is not a frame');
}

/** A frame from its header and its body. */
export function frameOf(header: Buffer, body: Buffer): Frame {
  return { kind: readWord(header, 0), id: readWord(header, 1), body };
}

/** A frame whose body is text. */
export function textFrame(kind: number, id: number, text: string): Buffer {
  const frame = startFrame(kind, id, Buffer.byteLength(text));
  frame.write(text, HEADER_BYTES);
  return frame;
}

export function runFrame(id: number, { model, sequences }: RunOrder): Buffer {
  let words = RUN_HEAD_WORDS + sequences.length;
  for (const sequence of sequences) words += sequence.length;
  const frame = startFrame(FRAME.run, id, words * WORD_BYTES);
  const body = new Int32Array(frame.buffer, frame.byteOffset + HEADER_BYTES, words);
  body.set([model, sequences.length, 0, 0]);
  let at = RUN_HEAD_WORDS;
  for (const { length } of sequences) body[at++] = length;
  for (const sequence of sequences) {
    body.set(sequence, at);
    at += sequence.length;
  }
  return frame;
}

/** The texts are views into the body. */
export function readRun(body: Buffer): RunOrder {
  const words = new Int32Array(body.buffer, body.byteOffset, body.length / WORD_BYTES);
  const [model = 0, texts = 0] = words;
  const sequences: Int32Array[] = [];
  let at = RUN_HEAD_WORDS + texts;
  for (const length of words.subarray(RUN_HEAD_WORDS, at)) sequences.push(words.subarray(at, (at += length)));
  return { model, sequences };
}

export function resultFrame(id: number, { rows, computeMs, cpuMs, memoryBytes }: ResultReport): Buffer {
  const frame = startFrame(FRAME.result, id, RESULT_HEAD_BYTES + rows.byteLength);
  const start = frame.byteOffset + HEADER_BYTES;
  new Float64Array(frame.buffer, start, RESULT_HEAD_NUMBERS).set([computeMs, cpuMs, memoryBytes]);
  new Float32Array(frame.buffer, start + RESULT_HEAD_BYTES, rows.length).set(rows);
  return frame;
}

/** The rows are a view into the body. */
export function readResult(body: Buffer): ResultReport {
  const head = new Float64Array(body.buffer, body.byteOffset, RESULT_HEAD_NUMBERS);
  const [computeMs = 0, cpuMs = 0, memoryBytes = 0] = head;
  const numbers = (body.length - RESULT_HEAD_BYTES) / WORD_BYTES;
  const rows = new Float32Array(body.buffer, body.byteOffset + RESULT_HEAD_BYTES, numbers);
  return { rows, computeMs, cpuMs, memoryBytes };
}

export function tensorRunFrame(id: number, { model, tensors }: TensorRunOrder): Buffer {
  const frame = startFrame(FRAME.runTensors, id, RUN_TENSORS_HEAD_BYTES + tensorsBytes(tensors));
  new Uint32Array(frame.buffer, frame.byteOffset + HEADER_BYTES, 2).set([model, 0]);
  writeTensors(frame, HEADER_BYTES + RUN_TENSORS_HEAD_BYTES, tensors);
  return frame;
}

/** The bytes of the tensors are views into the body. */
export function readTensorRun(body: Buffer): TensorRunOrder {
  return { model: readWord(body, 0), tensors: readTensors(body, RUN_TENSORS_HEAD_BYTES) };
}

export function tensorResultFrame(id: number, report: TensorResultReport): Buffer {
  const { tensors, computeMs, cpuMs, memoryBytes } = report;
  const frame = startFrame(FRAME.result, id, RESULT_HEAD_BYTES + tensorsBytes(tensors));
  const head = new Float64Array(frame.buffer, frame.byteOffset + HEADER_BYTES, RESULT_HEAD_NUMBERS);
  head.set([computeMs, cpuMs, memoryBytes]);
  writeTensors(frame, HEADER_BYTES + RESULT_HEAD_BYTES, tensors);
  return frame;
}

/** The bytes of the tensors are views into the body. */
export function readTensorResult(body: Buffer): TensorResultReport {
  const head = new Float64Array(body.buffer, body.byteOffset, RESULT_HEAD_NUMBERS);
  const [computeMs = 0, cpuMs = 0, memoryBytes = 0] = head;
  return { tensors: readTensors(body, RESULT_HEAD_BYTES), computeMs, cpuMs, memoryBytes };
}

function tensorsBytes(tensors: readonly TensorBytes[]): number {
  return tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), TENSORS_HEAD_BYTES);
}

function tensorBytes({ shape, bytes }: TensorBytes): number {
  return tensorHeadBytes(shape.length) + upToAlignment(bytes.length);
}

function tensorHeadBytes(axes: number): number {
  return upToAlignment((2 + axes) * WORD_BYTES);
}

function upToAlignment(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

function writeTensors(frame: Buffer, start: number, tensors: readonly TensorBytes[]): void {
  frame.writeUInt32LE(tensors.length, start);
  frame.writeUInt32LE(0, start + WORD_BYTES);
  let at = start + TENSORS_HEAD_BYTES;
  for (const tensor of tensors) {
    const { shape, bytes } = tensor;
    [shape.length, bytes.length, ...shape].forEach((word, index) => frame.writeUInt32LE(word, at + index * WORD_BYTES));
    frame.set(bytes, at + tensorHeadBytes(shape.length));
    at += tensorBytes(tensor);
  }
}

function readTensors(body: Buffer, start: number): readonly TensorBytes[] {
  const tensors: TensorBytes[] = [];
  let at = start + TENSORS_HEAD_BYTES;
  for (let left = body.readUInt32LE(start); left > 0; left--) {
    const word = (index: number): number => body.readUInt32LE(at + index * WORD_BYTES);
    const axes = word(0);
    const shape = Array.from({ length: axes }, (_, axis) => word(2 + axis));
    const from = at + tensorHeadBytes(axes);
    const to = from + word(1);
    if (to > body.length) throw new RangeError('a tensor is longer than its frame');
    const tensor = { shape, bytes: body.subarray(from, to) };
    tensors.push(tensor);
    at += tensorBytes(tensor);
  }
  return tensors;
}

/**
 * Puts frames together from the chunks of a stream. A frame that comes as one chunk, as nearly all do, is not copied.
 *
 * @returns what takes the chunks; throws when they are not frames.
 */
export function createFrameReader(onFrame: (frame: Frame) => void): (chunk: Buffer) => void {
  let parts: Buffer[] = [];
  let have = 0;
  let need = HEADER_BYTES;
  return (chunk) => {
    parts.push(chunk);
    have += chunk.length;
    while (have >= need) {
      const bytes = parts.length === 1 ? chunk : Buffer.concat(parts, have);
      need = HEADER_BYTES + bodyBytesOf(bytes);
      if (have >= need) {
        onFrame(frameOf(bytes, aligned(bytes.subarray(HEADER_BYTES, need))));
        chunk = bytes.subarray(need);
        need = HEADER_BYTES;
      } else chunk = bytes;
      parts = [chunk];
      have = chunk.length;
    }
  };
}

/** Typed arrays can only look at bytes from a multiple of their elements' size on. */
function aligned(bytes: Buffer): Buffer {
  if (bytes.byteOffset % 8 === 0) return bytes;
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}

function startFrame(kind: number, id: number, bodyBytes: number): Buffer {
  // n.b. not from Node's pool, where it might start at any byte.
  const frame = Buffer.allocUnsafeSlow(HEADER_BYTES + bodyBytes);
  new Uint32Array(frame.buffer, frame.byteOffset, 4).set([kind, id, bodyBytes, 0]);
  return frame;
}

function readWord(bytes: Buffer, word: number): number {
  return bytes.readUInt32LE(word * WORD_BYTES);
}
