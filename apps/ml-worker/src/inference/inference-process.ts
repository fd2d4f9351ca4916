/**
 * Entry of an inference process: it alone runs models, because a run blocks the event loop and can only be ended by ending
 * the process. It has nothing else to do, so it waits for orders blocking, and lives exactly as long as its pipe to the worker.
 */
import { readSync, statSync, writeSync } from 'node:fs';
import { isServiceError, ServiceError } from '@sluice/contracts';
import type { TensorModel, TextModel } from '@sluice/models';
import { isTextModel, openSession, openTensorSession, type SessionOptions } from '@sluice/models/session';
import {
  bodyBytesOf,
  frameOf,
  HEADER_BYTES,
  readRun,
  readTensorRun,
  resultFrame,
  tensorResultFrame,
  textFrame,
  type Frame,
} from './frames.js';
import {
  FRAME,
  FRAME_PIPE,
  type KeyedModel,
  type LoadOrder,
  type UnloadableReport,
  type WarmReport,
} from './inference-protocol.js';
import { endWithParent } from './parent-watch.js';
import { allocatedBytes } from './process-memory.js';

const WARM_UP_TOKENS = 16;
/** How old the memory told with a result may be: to ask for it takes as long as a short run. */
const MEMORY_AGE_MS = 100;

interface LoadedModel {
  /** Runs what the body of an order says, and makes the frame that answers it. */
  readonly run: (id: number, body: Buffer) => Promise<Buffer>;
  /** A first run allocates what later runs reuse. */
  readonly warmUp: () => Promise<void>;
}

/** By their position in `load`. */
const models: LoadedModel[] = [];
const memory = { bytes: 0, atMs: -Infinity };

// n.b. a terminal sends its signals to every process of the group; the worker decides when this one may end.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
endWithParent();

for (let frame = receive(); frame; frame = receive()) {
  const answer = await answerTo(frame);
  if (!send(answer)) break;
}

async function answerTo({ kind, id, body }: Frame): Promise<Buffer> {
  if (kind === FRAME.load) return load(JSON.parse(body.toString()) as LoadOrder);
  // Both orders begin with the position of the model.
  const model = models[body.readUInt32LE(0)];
  if (!model) return textFrame(FRAME.failed, id, 'the model is not loaded');
  return model.run(id, body).catch((error: unknown) => failureFrame(id, error));
}

/** n.b. what a ServiceError says is fit for clients; its cause, and any other error, is not. */
function failureFrame(id: number, error: unknown): Buffer {
  if (isServiceError(error) && error.code === 'inference_crashed') {
    return textFrame(FRAME.exhausted, id, reasonOf(error));
  }
  const isForClients = isServiceError(error) && error.cause === undefined;
  return textFrame(isForClients ? FRAME.refused : FRAME.failed, id, reasonOf(error));
}

async function load({ models: wanted, threads, provider, maxOutputBytes }: LoadOrder): Promise<Buffer> {
  const modelBytes: number[] = wanted.map(() => 0);
  for (const { position, key, model } of largestFirst(wanted)) {
    // n.b. should this end the process, nobody else can say which model did.
    send(textFrame(FRAME.loading, position, ''));
    try {
      const before = memoryAfterCollection();
      const options = { threads, provider };
      const loaded = isTextModel(model)
        ? await loadTextModel(model, options)
        : await loadTensorModel(model, options, maxOutputBytes);
      models[position] = loaded;
      await loaded.warmUp();
      modelBytes[position] = Math.max(0, memoryAfterCollection() - before);
    } catch (error) {
      const report: UnloadableReport = { model: key, reason: reasonOf(error) };
      return textFrame(FRAME.unloadable, 0, JSON.stringify(report));
    }
  }
  const report: WarmReport = { memoryBytes: process.memoryUsage.rss(), modelBytes };
  return textFrame(FRAME.warm, 0, JSON.stringify(report));
}

/**
 * What one model needs only while it is loaded, the next ones find free: so the same set always takes the same, and less than in
 * most other orders.
 */
function largestFirst(wanted: readonly KeyedModel[]): readonly (KeyedModel & { readonly position: number })[] {
  const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const sized = wanted.map((keyed, position) => ({ ...keyed, position, size: sizeOf(keyed.model.modelPath) }));
  return sized.sort((a, b) => b.size - a.size);
}

/** n.b. the file was read for its digest: the pieces of it are garbage, and many megabytes. */
function memoryAfterCollection(): number {
  globalThis.gc?.();
  return allocatedBytes();
}

async function loadTextModel(model: TextModel, options: SessionOptions): Promise<LoadedModel> {
  const session = await openSession(model, options);
  const { output, maxInputTokens } = model.file;
  return {
    async run(id, body) {
      const { sequences } = readRun(body);
      const { result: rows, computeMs, cpuMs } = await timed(() => session.run(sequences));
      if (rows.length !== sequences.length * output.dimensions) throw new Error('the output has another shape');
      if (!areFinite(rows)) throw new Error('the output holds a value that is not a finite number');
      return resultFrame(id, { rows, computeMs, cpuMs, memoryBytes: memoryBytes() });
    },
    warmUp: async () => void (await session.run([new Int32Array(Math.min(WARM_UP_TOKENS, maxInputTokens)).fill(1)])),
  };
}

async function loadTensorModel(
  model: TensorModel,
  options: SessionOptions,
  maxOutputBytes = Infinity,
): Promise<LoadedModel> {
  const session = await openTensorSession(model, options);
  return {
    async run(id, body) {
      const { tensors: inputs } = readTensorRun(body);
      const { result: tensors, computeMs, cpuMs } = await timed(() => session.run(inputs));
      const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes.length, 0);
      if (bytes > maxOutputBytes) {
        throw new ServiceError(
          'inference_failed',
          `The outputs have ${bytes} bytes, at most ${maxOutputBytes} are told.`,
        );
      }
      return tensorResultFrame(id, { tensors, computeMs, cpuMs, memoryBytes: memoryBytes() });
    },
    warmUp: () => session.warmUp(),
  };
}

/** What a session gave, and what it took. */
async function timed<Result>(run: () => Promise<Result>) {
  const beganMs = performance.now();
  const usedBefore = process.cpuUsage();
  const result = await run();
  const used = process.cpuUsage(usedBefore);
  return { result, computeMs: performance.now() - beganMs, cpuMs: (used.user + used.system) / 1_000 };
}

function areFinite(rows: Float32Array): boolean {
  // n.b. `every(Number.isFinite)` takes seven times as long. Infinity and NaN less themselves are NaN.
  for (const value of rows) if (value - value !== 0) return false;
  return true;
}

function memoryBytes(): number {
  const nowMs = performance.now();
  if (nowMs - memory.atMs > MEMORY_AGE_MS) {
    memory.bytes = process.memoryUsage.rss();
    memory.atMs = nowMs;
  }
  return memory.bytes;
}

/** Waits for a frame. Undefined when the worker wants no more, or is gone. */
function receive(): Frame | undefined {
  const header = read(HEADER_BYTES);
  const body = header && read(bodyBytesOf(header));
  return header && body && frameOf(header, body);
}

function read(bytes: number): Buffer | undefined {
  const buffer = Buffer.allocUnsafeSlow(bytes);
  for (let at = 0; at < bytes;) {
    const count = readSync(FRAME_PIPE, buffer, at, bytes - at, null);
    if (count === 0) return undefined;
    at += count;
  }
  return buffer;
}

/** False when the worker is gone: nobody waits for the answer. */
function send(frame: Buffer): boolean {
  try {
    for (let at = 0; at < frame.length;) at += writeSync(FRAME_PIPE, frame, at);
    return true;
  } catch {
    return false;
  }
}

/** The message and those of its causes: ONNX Runtime's own words are in the innermost. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${reasonOf(error.cause)}`;
}
