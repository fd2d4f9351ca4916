import { parseTraceparent, type TraceHeaders } from './trace-headers.js';

/** Facts about a span, by the names of OpenTelemetry's semantic conventions where these have one. Never what a tenant wrote. */
export type Attributes = Readonly<Record<string, string | number | boolean>>;

export type SpanKind = 'internal' | 'server' | 'client' | 'producer' | 'consumer';

export interface SpanOptions {
  /** `internal` when absent. */
  readonly kind?: SpanKind;
  readonly attributes?: Attributes;
  /** Spans that it belongs to beside its parent. */
  readonly links?: readonly TraceHeaders[];
}

/** A piece of work that is recorded. There is none for work that is not, so all calls read `span?.…`. */
export interface Span {
  /** 32 hexadecimal digits; in log lines as `traceId`. */
  readonly traceId: string;
  /** What names it as the parent of spans elsewhere. */
  readonly headers: TraceHeaders;
  /** Begins a part of it. */
  child(name: string, options?: SpanOptions): Span;
  rename(name: string): void;
  set(attributes: Attributes): void;
  /** Something that happened at this moment. */
  event(name: string, attributes?: Attributes): void;
  link(to: TraceHeaders): void;
  /** The work went wrong. `type` is an error code, never a message: those may quote what a tenant wrote. */
  fail(type: string): void;
  /** Calls after the first one do nothing. */
  end(): void;
}

export interface Tracer {
  /** False: nothing is ever recorded. */
  readonly records: boolean;
  /**
   * Begins a span as a part of what came with a request or a message, or of a new trace. Undefined when it is not sampled.
   */
  begin(name: string, came: TraceHeaders | undefined, options?: SpanOptions): Span | undefined;
}

/** Where a request, a message or a job stands among traces. There is none for work that nobody follows. */
export interface Trace {
  /** What the next part is told. */
  readonly headers: TraceHeaders;
  /** Undefined where the trace is only passed on. */
  readonly span: Span | undefined;
}

/** Records nothing. */
export const noTracer: Tracer = Object.freeze({ records: false, begin: () => undefined });

/**
 * Goes on with what came with a message of the suite's own. A trace that is not sampled, or not recorded here, is passed on as it is.
 * n.b. without headers, or without their flag, nothing begins: whether a job is recorded is decided where it comes in.
 */
export function follow(
  tracer: Tracer,
  came: TraceHeaders | undefined,
  name: string,
  options?: () => SpanOptions,
): Trace | undefined {
  if (came === undefined) return undefined;
  const sampled = tracer.records && parseTraceparent(came.traceparent)?.sampled === true;
  const span = sampled ? tracer.begin(name, came, options?.()) : undefined;
  return { headers: span?.headers ?? came, span };
}

/** Does work as a part of a span, if there is one: the part ends when the work does, and fails when it throws. */
export function within<Result>(
  span: Span | undefined,
  name: string,
  work: (part: Span | undefined) => Promise<Result>,
  options?: SpanOptions,
): Promise<Result> {
  return span === undefined ? work(undefined) : recorded(span.child(name, options), work);
}

async function recorded<Result>(part: Span, work: (part: Span) => Promise<Result>): Promise<Result> {
  try {
    return await work(part);
  } catch (error) {
    part.fail(errorType(error));
    throw error;
  } finally {
    part.end();
  }
}

/** The code of an error where it has one, else the name of its class. */
export function errorType(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}

/** Links of a shared span; the SDK would drop the first ones of more. */
export const MOST_LINKS = 128;

/**
 * Begins work that several recorded ones share: a part of the first of them, linked to all (to the first 128, when there are more, and the
 * attribute `sluice.shared_by` says how many); each of the others is linked to it. Undefined
 * when there is none.
 */
export function beginShared(spans: readonly Span[], name: string, options?: SpanOptions): Span | undefined {
  const [lead, ...others] = spans;
  if (!lead) return undefined;
  const links = spans.slice(0, MOST_LINKS).map(({ headers }) => headers);
  const attributes = { ...options?.attributes, 'sluice.shared_by': spans.length };
  const shared = lead.child(name, { ...options, attributes, links });
  for (const other of others) other.link(shared.headers);
  return shared;
}

/** Does work that several recorded ones share, as `within` does. */
export function withinShared<Result>(
  spans: readonly Span[],
  name: string,
  work: () => Promise<Result>,
  options?: SpanOptions,
): Promise<Result> {
  const shared = beginShared(spans, name, options);
  return shared === undefined ? work() : recorded(shared, work);
}
