import { beginShared, type Span } from '@sluice/telemetry';
import type { BatchReason } from './batching.js';
import type { QueuedText } from './running-job.js';

/** Begins the span of a batch, which its recorded jobs share. Undefined when no job of the batch is recorded. */
export function beginBatchSpan(texts: readonly QueuedText[], reason: BatchReason): Span | undefined {
  const recorded = recordedIn(texts);
  if (recorded.length === 0) return undefined;
  return beginShared(recorded, 'run batch', { attributes: attributesOf(texts, reason) });
}

/** n.b. looked for in every batch, so that nothing is made where there is none. */
function recordedIn(texts: readonly QueuedText[]): readonly Span[] {
  let found: Set<Span> | undefined;
  for (const { job } of texts) {
    const span = job.work.spans?.inference;
    if (span) (found ??= new Set()).add(span);
  }
  return found ? [...found] : NONE;
}

const NONE: readonly Span[] = [];

function attributesOf(texts: readonly QueuedText[], reason: BatchReason) {
  const tokens = texts.reduce((sum, text) => sum + text.tokens, 0);
  const longest = texts.reduce((most, text) => Math.max(most, text.tokens), 0);
  const [first] = texts;
  return {
    'sluice.model_version': first?.model ?? '',
    'sluice.batch.texts': texts.length,
    'sluice.batch.jobs': new Set(texts.map(({ job }) => job)).size,
    'sluice.batch.tokens': tokens,
    'sluice.batch.padding_tokens': first?.batchable ? longest * texts.length - tokens : 0,
    'sluice.batch.close_reason': reason,
  };
}
