import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Span, Trace } from '@sluice/telemetry';
import type { CallerTraces } from './caller-traces.js';

/** Traces of the requests that are being answered. */
export interface RequestTraces {
  /** To be called once for each request, before anything else is done with it. Probes are never recorded. */
  begin(request: IncomingMessage, response: ServerResponse): void;
  /** Undefined for a request that nobody follows. */
  of(request: IncomingMessage): Trace | undefined;
}

/** Everything that tenants and operators ask for. */
const RECORDED = '/v1/';

export function createRequestTraces(traces: CallerTraces): RequestTraces {
  const open = new WeakMap<IncomingMessage, Trace>();
  const closings = createClosings();
  return {
    begin(request, response) {
      const { method = '', url = '', headers } = request;
      if (!url.startsWith(RECORDED)) return;
      const trace = traces.begin(method, headers, () => ({
        kind: 'server',
        attributes: { 'http.request.method': method, 'url.scheme': 'http' },
      }));
      if (!trace) return;
      open.set(request, trace);
      const { span } = trace;
      if (!span) return;
      // The name that W3C gives it: the caller can tell the operator which trace it was.
      response.setHeader('traceresponse', span.headers.traceparent);
      closings.once(request.socket, response, () => end(span, request, response));
    },
    of: (request) => open.get(request),
  };
}

function end(span: Span, request: IncomingMessage, response: ServerResponse): void {
  const route = routeOf(request);
  if (route !== undefined) {
    span.rename(`${request.method} ${route}`);
    span.set({ 'http.route': route });
  }
  if (response.headersSent) span.set({ 'http.response.status_code': response.statusCode });
  if (!response.writableFinished) span.event('the connection was closed before the answer was sent');
  span.end();
}

/** n.b. Express leaves the route that matched on the request. */
function routeOf(request: IncomingMessage): string | undefined {
  const { route } = request as { readonly route?: { readonly path?: unknown } };
  return typeof route?.path === 'string' ? route.path : undefined;
}

/** Tells when a response has ended or its connection is gone. */
interface Closings {
  /** Calls back once. */
  once(socket: Socket, response: ServerResponse, onClosed: () => void): void;
}

/** n.b. of pipelined requests only the response whose turn it is hears that the connection was closed. */
function createClosings(): Closings {
  const waiting = new WeakMap<Socket, Set<() => void>>();

  function on(socket: Socket): Set<() => void> {
    const known = waiting.get(socket);
    if (known) return known;
    const all = new Set<() => void>();
    waiting.set(socket, all);
    socket.once('close', () => all.forEach((close) => close()));
    return all;
  }

  return {
    once(socket, response, onClosed) {
      const all = on(socket);
      const close = (): void => {
        if (all.delete(close)) onClosed();
      };
      all.add(close);
      response.once('close', close);
    },
  };
}
