import {
  createTraceState,
  ROOT_CONTEXT,
  SpanKind as OtelKind,
  SpanStatusCode,
  trace,
  type Link,
  type Span as OtelSpan,
  type SpanContext,
  type SpanOptions as OtelOptions,
  type Tracer as OtelTracer,
} from '@opentelemetry/api';
import { formatTraceparent, parseTraceparent, type TraceHeaders } from './trace-headers.js';
import type { Span, SpanKind, SpanOptions, Tracer } from './tracer.js';

const SAMPLED = 1;

const KINDS: Readonly<Record<SpanKind, OtelKind>> = {
  internal: OtelKind.INTERNAL,
  server: OtelKind.SERVER,
  client: OtelKind.CLIENT,
  producer: OtelKind.PRODUCER,
  consumer: OtelKind.CONSUMER,
};

/** Our words for a tracer of OpenTelemetry. Parents are handed on by hand: nothing depends on an active context. */
export function createOtelTracer(tracer: OtelTracer): Tracer {
  function childOf(context: SpanContext | undefined, name: string, options: SpanOptions | undefined): OtelSpan {
    const parent = context ? trace.setSpanContext(ROOT_CONTEXT, context) : ROOT_CONTEXT;
    return tracer.startSpan(name, optionsOf(options), parent);
  }

  function spanOf(span: OtelSpan): Span {
    const context = span.spanContext();
    let headers: TraceHeaders | undefined;
    return {
      traceId: context.traceId,
      get headers() {
        return (headers ??= headersOf(context));
      },
      child: (name, options) => spanOf(childOf(context, name, options)),
      rename: (name) => void span.updateName(name),
      set: (attributes) => void span.setAttributes(attributes),
      event: (name, attributes) => void span.addEvent(name, attributes),
      link: (to) => void span.addLinks(linksOf([to])),
      fail(type) {
        span.setStatus({ code: SpanStatusCode.ERROR });
        span.setAttribute('error.type', type);
      },
      end() {
        // n.b. a second call would log a warning.
        if (span.isRecording()) span.end();
      },
    };
  }

  return {
    records: true,
    begin(name, came, options) {
      const span = childOf(came && contextOf(came), name, options);
      return span.isRecording() ? spanOf(span) : undefined;
    },
  };
}

function optionsOf({ kind = 'internal', attributes, links }: SpanOptions = {}): OtelOptions {
  return { kind: KINDS[kind], ...(attributes && { attributes }), ...(links && { links: linksOf(links) }) };
}

function linksOf(all: readonly TraceHeaders[]): Link[] {
  return all.flatMap((headers) => {
    const context = contextOf(headers);
    return context ? [{ context }] : [];
  });
}

function contextOf({ traceparent, tracestate }: TraceHeaders): SpanContext | undefined {
  const parent = parseTraceparent(traceparent);
  if (!parent) return undefined;
  const { traceId, spanId, sampled } = parent;
  return {
    traceId,
    spanId,
    traceFlags: sampled ? SAMPLED : 0,
    isRemote: true,
    ...(tracestate !== undefined && { traceState: createTraceState(tracestate) }),
  };
}

function headersOf({ traceId, spanId, traceFlags, traceState }: SpanContext): TraceHeaders {
  const traceparent = formatTraceparent({ traceId, spanId, sampled: (traceFlags & SAMPLED) === SAMPLED });
  const tracestate = traceState?.serialize();
  return tracestate ? { traceparent, tracestate } : { traceparent };
}
