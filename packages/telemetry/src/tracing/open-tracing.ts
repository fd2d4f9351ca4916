import type { TracingSettings } from './settings.js';
import { noTracer, type Tracer } from './tracer.js';

/** The least of a logger. */
export interface TracingLogger {
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
}

export interface TracingOptions {
  /** Undefined: nothing is traced. */
  readonly settings: TracingSettings | undefined;
  /** Name of the program, unless the settings have another one. */
  readonly serviceName: string;
  /** Which of several of the same name it is. */
  readonly instanceId: string;
  /** Whether traces begin here. If not, the sampler of the settings counts for nothing: what came sampled is recorded, and nothing else. */
  readonly begins: boolean;
  readonly logger: TracingLogger;
}

/** A tracer, and what sends its spans. */
export interface Tracing {
  readonly tracer: Tracer;
  /** Sends what is left, for at most so many milliseconds (three seconds when absent). Never rejects. */
  stop(withinMs?: number): Promise<void>;
}

/** Nothing is traced, and nothing of OpenTelemetry is loaded. */
export const noTracing: Tracing = Object.freeze({
  tracer: noTracer,
  stop: () => Promise.resolve(),
});

/** Makes a tracer by the settings. n.b. OpenTelemetry's SDK costs memory and start-up time, so it is loaded only where it is used. */
export async function openTracing(options: TracingOptions): Promise<Tracing> {
  const { settings } = options;
  if (!settings) return noTracing;
  const { createOtlpTracing } = await import('./otlp-tracing.js');
  return createOtlpTracing({ ...options, settings });
}
