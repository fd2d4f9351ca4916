import { diag, DiagLogLevel } from '@opentelemetry/api';
import type { LostSpans } from './lost-spans.js';
import type { TracingLogger } from './open-tracing.js';

/** Time between two lines about the SDK's own trouble, at least. */
const LINE_EVERY_MS = 60_000;
const MOST_CHARACTERS = 200;
const PARTIAL_SUCCESS = 'Received Partial Success response:';

/**
 * Has the SDK tell of its troubles by our logger: a line a minute at most, and only the text, for what comes beside it may be a whole
 * answer. What a collector refused of a batch that it took otherwise is only told here. Replaces whatever listened before.
 */
export function listenToSdk(logger: TracingLogger, lost: Pick<LostSpans, 'add'>): void {
  let lineAtMs = -Infinity;

  function hear(message: string, ...more: unknown[]): void {
    const rejected = message === PARTIAL_SUCCESS ? rejectedSpans(more[0]) : 0;
    if (rejected > 0) return lost.add(rejected, 'the collector refused them');
    const nowMs = performance.now();
    if (nowMs - lineAtMs < LINE_EVERY_MS) return;
    lineAtMs = nowMs;
    logger.warn({ problem: message.slice(0, MOST_CHARACTERS) }, 'OpenTelemetry has a problem');
  }

  const ignore = (): void => undefined;
  diag.setLogger(
    { error: hear, warn: hear, info: ignore, debug: ignore, verbose: ignore },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}

/** @param answer as JSON, of a count that may be text. */
function rejectedSpans(answer: unknown): number {
  try {
    const { rejectedSpans: count } = JSON.parse(String(answer)) as { readonly rejectedSpans?: unknown };
    return Math.max(0, Number(count)) || 0;
  } catch {
    return 0;
  }
}
