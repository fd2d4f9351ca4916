import type { IncomingMessage, ServerResponse } from 'node:http';
import { DURATION_BOUNDS, type Counter, type Histogram, type Metrics } from '@sluice/telemetry';

/** Hears of every request when its answer is over; `ms` is the time since its head was read. */
export type HttpObserver = (request: IncomingMessage, response: ServerResponse, ms: number) => void;

export interface HttpMetrics {
  readonly answered: HttpObserver;
  /** A connection was answered with this status because what came over it is no request. */
  refused(status: number): void;
}

/** What no route takes. */
const NO_ROUTE = 'none';
/** What is no request, as far as it came. */
const UNPARSED = 'unparsed';
/** Those that some route has. Others are refused, and no label each: anybody can send them. */
const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
const OTHER_METHOD = 'other';

/** What is counted of one route and method. */
interface Route {
  readonly duration: Histogram;
  readonly byStatus: Map<string, Counter>;
}

/**
 * Counts requests by method, pattern of the route (never the path) and status, `aborted` when the client left before the answer. Long polls
 * have a route of their own: they take as long as they are told to. So has what no parser takes for a request; it has no duration.
 */
export function createHttpMetrics(metrics: Metrics): HttpMetrics {
  const requests = metrics.counter('sluice_http_requests_total', 'Requests that were answered.', [
    'method',
    'route',
    'status',
  ]);
  const durations = metrics.histogram(
    'sluice_http_request_duration_seconds',
    'Time from the head of a request to the end of its answer.',
    DURATION_BOUNDS,
    ['method', 'route'],
  );
  /** n.b. kept: to look both metrics up by all labels takes half a microsecond. */
  const routes = new Map<string, Route>();

  return {
    answered(request, response, ms) {
      const method = request.method !== undefined && METHODS.has(request.method) ? request.method : OTHER_METHOD;
      const pattern = patternOf(request);
      const key = `${method} ${pattern}`;
      let route = routes.get(key);
      if (!route) {
        route = { duration: durations.of({ method, route: pattern }), byStatus: new Map() };
        routes.set(key, route);
      }
      const status = response.headersSent ? String(response.statusCode) : 'aborted';
      let counter = route.byStatus.get(status);
      if (!counter) route.byStatus.set(status, (counter = requests.of({ method, route: pattern, status })));
      counter.add();
      route.duration.observe(ms / 1000);
    },
    refused: (status) => requests.of({ method: OTHER_METHOD, route: UNPARSED, status: String(status) }).add(),
  };
}

/** n.b. Express leaves the route that it found with the request. */
function patternOf(request: IncomingMessage & { readonly route?: { readonly path?: unknown } }): string {
  const path = request.route?.path;
  if (typeof path !== 'string') return NO_ROUTE;
  return path === '/v1/jobs/:id' && /[?&]wait=/.test(request.url ?? '') ? `${path}?wait` : path;
}
