import type { SpanExporter } from '@opentelemetry/sdk-trace';
import type { TracingLogger } from './open-tracing.js';

/** Time between two lines about spans that could not be sent, at least. */
const LINE_EVERY_MS = 60_000;
const SUCCESS = 0;

/**
 * An exporter whose failures are told in a line a minute at most. n.b. whoever calls it is told of success: the SDK would report each
 * failure by itself, and gives the spans up in either case.
 */
export function createPatientExporter(exporter: SpanExporter, logger: TracingLogger): SpanExporter {
  let lost = 0;
  let lineAtMs = -Infinity;

  function failed(spans: number, error: Error | undefined): void {
    lost += spans;
    const nowMs = performance.now();
    if (nowMs - lineAtMs < LINE_EVERY_MS) return;
    // n.b. the answer of a collector may be long, and the request holds headers with secrets.
    logger.warn({ spans: lost, reason: error?.message.slice(0, 200) }, 'spans could not be sent and are lost');
    [lost, lineAtMs] = [0, nowMs];
  }

  return {
    export(spans, onResult) {
      exporter.export(spans, ({ code, error }) => {
        if (Number(code) !== SUCCESS) failed(spans.length, error);
        onResult({ code: SUCCESS });
      });
    },
    forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
    shutdown: () => exporter.shutdown(),
  };
}
