import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { isServiceError, ServiceError, toProblem } from '@sluice/contracts';
import type { Logger } from '@sluice/runtime';
import type { ErrorRequestHandler } from 'express';
import type { RequestTraces } from '../request-traces.js';

/** Writes a JSON answer. n.b. `res.json` of Express costs several times as much (ETag, content negotiation, settings). */
export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  // n.b. as a string Node sends head and body in one piece; a Buffer would go out as a second one.
  const payload = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(payload),
    'cache-control': 'no-store',
    ...headers,
  });
  response.end(payload);
}

/** Answers with a problem document (RFC 9457). */
export function sendProblem(response: ServerResponse, error: ServiceError, instance?: string): void {
  const problem = toProblem(error);
  sendJson(response, problem.status, instance === undefined ? problem : { ...problem, instance }, headersOf(error));
}

/** The last handler: any error becomes a problem document; what is not expected is logged with an id. */
export function problems(logger: Logger, traces: Pick<RequestTraces, 'of'>): ErrorRequestHandler {
  // n.b. Express recognises an error handler by its four parameters.
  return function answerWithProblem(error: unknown, request, response, _next) {
    const known = asServiceError(error);
    const span = traces.of(request)?.span;
    const instance = known.code === 'internal' ? `urn:uuid:${randomUUID()}` : undefined;
    if (known.status >= 500) {
      const facts = { err: known, cause: known.cause, instance, path: request.path, traceId: span?.traceId };
      span?.fail(known.code);
      logger[instance ? 'error' : 'warn'](facts, 'a request could not be answered');
    } else {
      span?.set({ 'sluice.refusal': known.code });
    }
    if (response.headersSent) response.destroy();
    else sendProblem(response, known, instance);
  };
}

function headersOf(error: ServiceError): Record<string, string> {
  return {
    'content-type': 'application/problem+json; charset=utf-8',
    ...(error.status === 401 && { 'www-authenticate': 'Bearer realm="sluice"' }),
    ...error.headers,
    ...(error.retryAfterSeconds !== undefined && { 'retry-after': String(error.retryAfterSeconds) }),
    ...(error.status === 408 && { connection: 'close' }),
  };
}

/** Express throws plain errors with a `status` for malformed URLs; everything else unknown is our own fault. */
function asServiceError(error: unknown): ServiceError {
  if (isServiceError(error)) return error;
  if (error instanceof URIError) {
    return new ServiceError('invalid_request', 'The path is not valid percent-encoding.', {
      cause: error,
      fields: [{ field: 'path', reason: 'is not valid percent-encoding' }],
    });
  }
  return new ServiceError('internal', 'The error was logged.', { cause: error });
}
