import { BatchSpanProcessor, type SpanExporter, type SpanProcessor } from '@opentelemetry/sdk-trace';
import type { LostSpans } from './lost-spans.js';

/** Ended spans that wait to be sent; more are dropped. Some 4 MB. */
const MOST_WAITING = 2_048;
const MOST_AT_ONCE = 512;
const SEND_EVERY_MS = 1_000;
const SAMPLED = 1;

/** A queue of ended spans, sent in batches by an exporter. It counts itself, for the SDK's own queue drops spans without telling. */
export interface BoundedProcessor extends SpanProcessor {
  /** Counts as lost what still waits. */
  giveUp(): void;
}

export function createBoundedProcessor(exporter: SpanExporter, lost: Pick<LostSpans, 'add'>): BoundedProcessor {
  let waiting = 0;
  const batches = new BatchSpanProcessor({
    exporter: {
      export(spans, onResult) {
        waiting -= spans.length;
        exporter.export(spans, onResult);
      },
      forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
      shutdown: () => exporter.shutdown(),
    },
    maxQueueSize: MOST_WAITING,
    maxExportBatchSize: MOST_AT_ONCE,
    scheduledDelayMillis: SEND_EVERY_MS,
  });
  return {
    onStart: (span, context) => batches.onStart(span, context),
    onEnd(span) {
      if ((span.spanContext().traceFlags & SAMPLED) === 0) return;
      if (waiting >= MOST_WAITING) return lost.add(1, 'more spans ended than could be sent');
      waiting += 1;
      batches.onEnd(span);
    },
    giveUp() {
      if (waiting > 0) lost.add(waiting, 'the program ended');
      waiting = 0;
    },
    forceFlush: () => batches.forceFlush(),
    shutdown: () => batches.shutdown(),
  };
}
