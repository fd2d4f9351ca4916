import { describe, expect, it } from '@jest/globals';
import type { TensorBytes } from '@sluice/models';
import fc from 'fast-check';
import {
  createFrameReader,
  readResult,
  readRun,
  readTensorResult,
  readTensorRun,
  resultFrame,
  runFrame,
  tensorResultFrame,
  tensorRunFrame,
  textFrame,
  type Frame,
} from './frames.js';
import { FRAME } from './inference-protocol.js';

/** What comes out when bytes arrive cut at some places. */
function readInPieces(bytes: Buffer, cuts: readonly number[]): Frame[] {
  const frames: Frame[] = [];
  const read = createFrameReader((frame) => frames.push(frame));
  let start = 0;
  for (const end of [...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]) {
    // n.b. a chunk of its own, at any place in memory, as a socket gives it.
    if (end > start) read(Buffer.from(bytes.subarray(start, end)));
    start = end;
  }
  return frames;
}

const cutsOf = fc.array(fc.nat(), { maxLength: 8 });
const sequencesOf = fc.array(fc.int32Array({ maxLength: 300 }), { minLength: 1, maxLength: 20 });

describe('frames', () => {
  it('carry the texts of a run, however the stream is cut', () => {
    fc.assert(
      fc.property(sequencesOf, fc.nat(200), cutsOf, (sequences, model, cuts) => {
        const [frame] = readInPieces(runFrame(7, { model, sequences }), cuts);
        expect(frame).toMatchObject({ kind: FRAME.run, id: 7 });
        expect(readRun(frame?.body as Buffer)).toEqual({ model, sequences });
      }),
    );
  });

  it('carry what runs came to, several in a stream, after text of any length', () => {
    const resultOf = fc.record({
      rows: fc.float32Array({ maxLength: 600, noNaN: true }),
      computeMs: fc.double({ min: 0, max: 1e6, noNaN: true }),
      cpuMs: fc.double({ min: 0, max: 1e6, noNaN: true }),
      memoryBytes: fc.nat(2 ** 50),
    });
    fc.assert(
      fc.property(fc.array(resultOf, { maxLength: 4 }), fc.string(), cutsOf, (results, text, cuts) => {
        const bytes = [textFrame(FRAME.failed, 9, text), ...results.map((result, id) => resultFrame(id, result))];
        const [first, ...others] = readInPieces(Buffer.concat(bytes), cuts);
        expect(first).toMatchObject({ kind: FRAME.failed, id: 9 });
        expect(first?.body.toString()).toBe(Buffer.from(text).toString());
        expect(others.map(({ id }) => id)).toEqual([...results.keys()]);
        expect(others.map(({ body }) => readResult(body))).toEqual(results);
      }),
    );
  });

  it('do not copy the rows of a result that arrives at once', () => {
    const bytes = resultFrame(1, { rows: Float32Array.of(1, 2), computeMs: 1, cpuMs: 1, memoryBytes: 2 });
    let rows: Float32Array | undefined;
    createFrameReader(({ body }) => ({ rows } = readResult(body)))(bytes);
    expect(rows?.buffer).toBe(bytes.buffer);
  });

  it('carry tensors of any shape and length both ways, each from where any type can look at it', () => {
    const tensorOf = fc.record({
      shape: fc.array(fc.integer({ min: 0, max: 2 ** 31 - 1 }), { maxLength: 8 }),
      bytes: fc.uint8Array({ maxLength: 70 }),
    });
    const plain = ({ shape, bytes }: TensorBytes) => ({ shape, bytes: Uint8Array.from(bytes) });
    fc.assert(
      fc.property(fc.array(tensorOf, { maxLength: 5 }), fc.nat(200), cutsOf, (tensors, model, cuts) => {
        const sent = [tensorRunFrame(3, { model, tensors })];
        sent.push(tensorResultFrame(4, { tensors, computeMs: 1.5, cpuMs: 0.5, memoryBytes: 2 ** 40 }));
        const [order, result] = readInPieces(Buffer.concat(sent), cuts);
        expect([order?.kind, order?.id, result?.kind, result?.id]).toEqual([FRAME.runTensors, 3, FRAME.result, 4]);
        const run = readTensorRun(order?.body as Buffer);
        const report = readTensorResult(result?.body as Buffer);
        expect([run.model, report.computeMs, report.memoryBytes]).toEqual([model, 1.5, 2 ** 40]);
        for (const found of [run.tensors, report.tensors]) {
          expect(found.map(plain)).toEqual(tensors);
          expect(found.every(({ bytes }) => bytes.byteOffset % 8 === 0)).toBe(true);
        }
      }),
    );
  });

  it('are refused when a tensor is said to be longer than they are', () => {
    const tensors = [{ shape: [4], bytes: Uint8Array.of(1, 2, 3, 4) }];
    const frame = tensorResultFrame(4, { tensors, computeMs: 1, cpuMs: 1, memoryBytes: 1 });
    const [whole] = readInPieces(frame, []);
    const body = Buffer.from(whole?.body as Buffer);
    body.writeUInt32LE(4_000, body.indexOf(Buffer.from([1, 0, 0, 0, 4, 0, 0, 0])) + 4);
    expect(() => readTensorResult(body)).toThrow('longer than its frame');
  });

  it('are refused when their header is none', () => {
    const read = createFrameReader(() => undefined);
    expect(() => read(Buffer.from('anything else than a frame'))).toThrow('what was read is not a frame');
  });
});
