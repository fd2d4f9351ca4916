/**
 * Entry of a process that runs batches and does nothing else: what a worker's inference process would be without the worker. The
 * texts are sent once, before the clock starts; then only positions travel, and the rows stay here.
 */
import type { TextModel } from '@sluice/models';
import { openSession, type Session } from '@sluice/models/session';
import type { Batch } from './batch-cuts.js';

export type ToBareProcess =
  | { readonly type: 'load'; readonly model: TextModel; readonly sequences: readonly Int32Array[] }
  | { readonly type: 'run'; readonly batch: Batch };

/** `ready`: loaded. `done`: a batch was run; `computeMs`: how long that took, without the way here and back. */
export type FromBareProcess = { readonly type: 'ready' } | { readonly type: 'done'; readonly computeMs: number };

let session: Session | undefined;
let sequences: readonly Int32Array[] = [];

async function answer(message: ToBareProcess): Promise<FromBareProcess> {
  if (message.type === 'load') {
    session = await openSession(message.model, { threads: 1 });
    sequences = message.sequences;
    return { type: 'ready' };
  }
  const startedAt = performance.now();
  await session?.run(message.batch.map((index) => sequences[index] ?? new Int32Array(0)));
  return { type: 'done', computeMs: performance.now() - startedAt };
}

process.once('disconnect', () => process.exit(0));
process.on('message', (message: ToBareProcess) => {
  void answer(message).then((reply) => process.send?.(reply));
});
