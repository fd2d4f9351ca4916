import {
  formatTraceparent,
  parseTraceparent,
  readTraceHeaders,
  type Attributes,
  type SpanOptions,
  type Trace,
  type TraceHeaders,
  type Tracer,
} from '@sluice/telemetry';
import type { Principal } from '@sluice/store';
import type { JobView } from './job-view.js';

export interface CallerTracesOptions {
  readonly tracer: Tracer;
  /** `follow` where callers are trusted: their traces go on here, and they say what is recorded. */
  readonly callers: 'link' | 'follow';
}

/** Begins the traces of what comes in, over HTTP or AMQP; see docs/decisions/0022-callers-traces.md. */
export interface CallerTraces {
  /**
   * Where a request or a message stands. Undefined, at next to no cost, when it is not sampled and there is nothing to pass on.
   *
   * @param headers of the request or message; anything may be in them.
   */
  begin(name: string, headers: Readonly<Record<string, unknown>>, options: () => SpanOptions): Trace | undefined;
}

export function createCallerTraces({ tracer, callers }: CallerTracesOptions): CallerTraces {
  function goOn(name: string, came: TraceHeaders | undefined, options: () => SpanOptions): Trace | undefined {
    const span = tracer.records ? tracer.begin(name, came, options()) : undefined;
    if (span) return { headers: span.headers, span };
    if (came === undefined) return undefined;
    // n.b. what was sampled and is not recorded here must not be recorded further on either: its parts would hang in the air.
    return { headers: tracer.records ? unsampled(came) : came, span: undefined };
  }

  /** Whoever may send requests must not be able to have each of them recorded. */
  function beginAnew(name: string, headers: Readonly<Record<string, unknown>>, options: () => SpanOptions) {
    const span = tracer.begin(name, undefined, options());
    if (!span) return undefined;
    const came = readTraceHeaders(headers);
    if (came) span.link(came);
    return { headers: span.headers, span };
  }

  if (callers === 'follow')
    return { begin: (name, headers, options) => goOn(name, readTraceHeaders(headers), options) };
  return tracer.records ? { begin: beginAnew } : { begin: () => undefined };
}

function unsampled(came: TraceHeaders): TraceHeaders {
  const parent = parseTraceparent(came.traceparent);
  return parent ? { ...came, traceparent: formatTraceparent({ ...parent, sampled: false }) } : came;
}

/** What a span tells of a job that was accepted. */
export function acceptedAttributes({ tenantId }: Principal, { id, model, class: jobClass }: JobView): Attributes {
  return { 'sluice.tenant.id': tenantId, 'sluice.job.id': id, 'sluice.job.class': jobClass, 'sluice.model': model };
}
