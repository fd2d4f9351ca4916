import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createFrameReader, readResult, readRun, resultFrame, runFrame, textFrame, type Frame } from './frames.js';
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

  it('are refused when their header is none', () => {
    const read = createFrameReader(() => undefined);
    expect(() => read(Buffer.from('anything else than a frame'))).toThrow('what was read is not a frame');
  });
});
