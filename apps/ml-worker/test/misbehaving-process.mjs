/**
 * Stands in for an inference process and goes wrong by the first token of a run, in ways that no model does on demand.
 * It says that it is warm at once.
 */
import { Buffer } from 'node:buffer';
import { readSync, writeSync } from 'node:fs';
import { readRun, resultFrame, textFrame } from '../dist/inference/frames.js';
import { FRAME, FRAME_PIPE } from '../dist/inference/inference-protocol.js';

const NONSENSE = Buffer.from('this is no frame, whatever it is taken for');

const actions = {
  a: () => process.abort(),
  e: () => process.exit(3),
  k: () => process.kill(process.pid, 'SIGKILL'),
  n: () => writeSync(FRAME_PIPE, NONSENSE),
  r: (id) => writeSync(FRAME_PIPE, textFrame(FRAME.result, id, 'no result')),
  s: () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0),
};

for (;;) {
  const header = read(16);
  const body = read(header.readUInt32LE(8));
  if (header.readUInt32LE(0) === FRAME.load) {
    writeSync(FRAME_PIPE, textFrame(FRAME.warm, 0, JSON.stringify({ memoryBytes: 0, modelBytes: [] })));
    continue;
  }
  const [[token]] = readRun(body).sequences;
  actions[String.fromCharCode(token)]?.(header.readUInt32LE(4));
  const result = { rows: Float32Array.of(token), computeMs: 0, cpuMs: 0, memoryBytes: 0 };
  writeSync(FRAME_PIPE, resultFrame(header.readUInt32LE(4), result));
}

function read(bytes) {
  const buffer = Buffer.alloc(bytes);
  for (let at = 0; at < bytes;) {
    const count = readSync(FRAME_PIPE, buffer, at, bytes - at, null);
    if (count === 0) process.exit();
    at += count;
  }
  return buffer;
}
