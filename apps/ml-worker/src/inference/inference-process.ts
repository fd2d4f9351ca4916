/**
 * Entry of a forked inference process: it alone runs models, because a run blocks the event loop and can only be
 * ended by ending the process. It lives exactly as long as its channel to the worker.
 */
import { openSession, type Session } from '@sluice/models/session';
import type { FromInferenceProcess, KeyedModel, ToInferenceProcess } from './inference-protocol.js';

const WARM_UP_TOKENS = 16;

/** By the key that runs ask for. */
const sessions = new Map<string, Session>();

// n.b. a terminal sends its signals to every process of the group; the worker decides when this one may end.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);

process.on('message', (message: ToInferenceProcess) => {
  void answer(message).then(send);
});

async function answer(message: ToInferenceProcess): Promise<FromInferenceProcess> {
  switch (message.type) {
    case 'load':
      return load(message.models);
    case 'run':
      return run(message.id, message.model, message.sequences).catch((error: unknown) => ({
        type: 'failed',
        id: message.id,
        reason: reasonOf(error),
      }));
  }
}

async function load(models: readonly KeyedModel[]): Promise<FromInferenceProcess> {
  for (const { key, model } of models) {
    try {
      const session = await openSession(model, { threads: 1 });
      sessions.set(key, session);
      // A first run allocates what later runs reuse.
      await session.run([new Int32Array(Math.min(WARM_UP_TOKENS, model.file.maxInputTokens)).fill(1)]);
    } catch (error) {
      return { type: 'unloadable', model: key, reason: reasonOf(error) };
    }
  }
  return { type: 'warm' };
}

async function run(id: number, key: string, sequences: readonly Int32Array[]): Promise<FromInferenceProcess> {
  const session = sessions.get(key);
  if (!session) throw new Error(`model ${key} is not loaded`);
  const beganMs = performance.now();
  const rows = await session.run(sequences);
  const computeMs = performance.now() - beganMs;
  if (!rows.every(Number.isFinite)) throw new Error('the output holds a value that is not a finite number');
  return { type: 'result', id, rows, computeMs };
}

function send(message: FromInferenceProcess): void {
  // Closed when the worker is gone: nobody waits for the answer, and the process ends by itself.
  if (!process.connected) return;
  process.send?.(message, () => {
    if (message.type === 'unloadable' && process.connected) process.disconnect();
  });
}

/** The message and those of its causes: ONNX Runtime's own words are in the innermost. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${reasonOf(error.cause)}`;
}
