import type { SpanExporter } from '@opentelemetry/sdk-trace';
import type { LostSpans } from './lost-spans.js';

const SUCCESS = 0;

export interface PatientExporterOptions {
  readonly exporter: SpanExporter;
  /** How long spans may take to be sent, all attempts together, in milliseconds; then they count as lost. */
  readonly timeoutMs: number;
  readonly lost: Pick<LostSpans, 'add'>;
}

/** An exporter that knows what it still has under way. */
export interface PatientExporter extends SpanExporter {
  /** Counts as lost what is not sent by now. */
  giveUp(): void;
}

/**
 * An exporter whose failures are counted. n.b. whoever calls it is told of success: the SDK would report each failure by itself, and gives
 * the spans up in either case. It has a deadline of its own because that of an exporter over HTTP begins anew with every byte that comes.
 */
export function createPatientExporter({ exporter, timeoutMs, lost }: PatientExporterOptions): PatientExporter {
  const underWay = new Set<(reason: string) => void>();
  return {
    export(spans, onResult) {
      const settle = (problem: string | undefined): void => {
        if (!underWay.delete(fail)) return;
        clearTimeout(timer);
        if (problem !== undefined) lost.add(spans.length, problem);
        onResult({ code: SUCCESS });
      };
      const fail = (reason: string): void => settle(reason);
      const timer = setTimeout(fail, timeoutMs, `not sent within ${timeoutMs} ms`);
      underWay.add(fail);
      exporter.export(spans, ({ code, error }) =>
        settle(Number(code) === SUCCESS ? undefined : (error?.message ?? 'unknown')),
      );
    },
    giveUp() {
      for (const fail of underWay) fail('the program ended');
    },
    forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
    shutdown: () => exporter.shutdown(),
  };
}
