import {
  createServer as createHttpServer,
  STATUS_CODES,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { Duplex } from 'node:stream';
import { ServiceError, toProblem, type ErrorCode } from '@sluice/contracts';
import type { Logger } from '@sluice/runtime';
import express, { type Express, type RequestHandler } from 'express';
import { createExchanges } from './exchanges.js';
import { invalidRequest } from './field-errors.js';
import type { Health } from './health.js';
import type { HttpMetrics } from './http-metrics.js';
import { problems, sendProblem } from './middleware/respond.js';
import { accountRoutes, type AccountRoutesOptions } from './routes/account.js';
import { adminKeyRoutes, type AdminKeyRoutesOptions } from './routes/admin-keys.js';
import { adminRoutes, type AdminRoutesOptions } from './routes/admin.js';
import { deadLetterRoutes, type DeadLetterRoutesOptions } from './routes/dead-letters.js';
import { healthRoutes } from './routes/health.js';
import { jobListRoutes, type JobListRoutesOptions } from './routes/job-list.js';
import type { RequestTraces } from './request-traces.js';
import { jobRoutes, submitJob, type JobRoutesOptions } from './routes/jobs.js';

export interface ServerOptions {
  readonly jobs: JobRoutesOptions;
  readonly jobList: JobListRoutesOptions;
  readonly account: AccountRoutesOptions;
  readonly admin: AdminRoutesOptions & AdminKeyRoutesOptions;
  readonly deadLetters: DeadLetterRoutesOptions;
  readonly health: Health;
  /** Aborted when the gateway is told to end: each answer is then the last one of its connection. */
  readonly draining: AbortSignal;
  /** How long a connection may be without a request before it is closed, in milliseconds. */
  readonly keepAliveTimeoutMs: number;
  readonly requestTraces: RequestTraces;
  /** Hears of every answer. */
  readonly httpMetrics: HttpMetrics;
  readonly logger: Logger;
}

const MAX_HEADER_BYTES = 16_384;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 60_000;

/** Which methods each path has; another method on the same path is 405. */
export const METHODS: readonly (readonly [path: string, allow: string])[] = [
  ['/v1/jobs', 'GET, HEAD, POST'],
  ['/v1/jobs/:id', 'GET, HEAD, DELETE'],
  ['/v1/models', 'GET, HEAD'],
  ['/v1/quota', 'GET, HEAD'],
  ['/v1/usage', 'GET, HEAD'],
  ['/v1/admin/tenants', 'GET, HEAD'],
  ['/v1/admin/tenants/:tenantId', 'GET, HEAD, PUT'],
  ['/v1/admin/tenants/:tenantId/keys', 'GET, HEAD, POST'],
  ['/v1/admin/tenants/:tenantId/producers', 'GET, HEAD'],
  ['/v1/admin/keys/:apiKeyId', 'PATCH, DELETE'],
  ['/v1/admin/producers/:userId', 'GET, HEAD, PUT, DELETE'],
  ['/v1/admin/dead-letters', 'GET, HEAD'],
  ['/v1/admin/dead-letters/replay', 'POST'],
  ['/v1/admin/dead-letters/:id', 'GET, HEAD'],
  ['/v1/admin/dead-letters/:id/replay', 'POST'],
  ['/livez', 'GET, HEAD'],
  ['/readyz', 'GET, HEAD'],
  ['/health', 'GET, HEAD'],
];

/** The HTTP side of the gateway. It listens nowhere; the caller decides where. */
export function createServer(options: ServerOptions): Server {
  const app = createApp(options);
  const { httpMetrics } = options;
  const exchanges = createExchanges(httpMetrics.answered);
  /** Answers what never becomes a request, and ends its connection. */
  function refuse(socket: Duplex, error: ServiceError): void {
    httpMetrics.refused(writeProblem(socket, error));
  }
  const server = createHttpServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: options.keepAliveTimeoutMs,
      // Checked here, to be refused like anything else.
      requireHostHeader: false,
    },
    (request, response) => {
      exchanges.begin(request, response);
      options.requestTraces.begin(request, response);
      if (request.headers.host === undefined && request.httpVersion === '1.1') {
        sendProblem(response, invalidRequest([{ field: 'Host', reason: 'is missing' }]));
      } else {
        app(request, response);
      }
    },
  );
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // n.b. behind a request that is still being answered, it would be taken for that answer.
    if (!socket.writable || error.code === 'ECONNRESET' || exchanges.isBusy(socket)) socket.destroy();
    else refuse(socket, protocolError(error));
  });
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    exchanges.begin(request, response);
    sendProblem(response, invalidRequest([{ field: 'Expect', reason: 'may be "100-continue" only' }]));
  });
  server.on('connect', (_request, socket) => {
    refuse(socket, new ServiceError('method_not_allowed', 'CONNECT is not supported.'));
  });
  options.draining.addEventListener('abort', () => exchanges.makeLast(), { once: true });
  return server;
}

function createApp(options: ServerOptions): Express {
  const { jobs, jobList, account, admin, deadLetters, health, requestTraces, logger } = options;
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.set('query parser', 'simple');
  // The hot route comes first: every route before it would be matched against each submission.
  app.post('/v1/jobs', submitJob(jobs));
  for (const [path, allow] of METHODS) app.options(path, answerOptions(allow));
  app.use(
    jobRoutes(jobs),
    jobListRoutes(jobList),
    accountRoutes(account),
    healthRoutes(health),
    adminRoutes(admin),
    adminKeyRoutes(admin),
    deadLetterRoutes(deadLetters),
  );
  for (const [path, allow] of METHODS) app.all(path, methodNotAllowed(allow));
  app.use((request) => {
    throw new ServiceError('not_found', `No such path: ${request.path.slice(0, 200)}`);
  });
  app.use(problems(logger, requestTraces));
  return app;
}

function methodNotAllowed(allow: string): RequestHandler {
  return (request, response) => {
    response.setHeader('allow', allow);
    throw new ServiceError('method_not_allowed', `${request.method} is not supported here; use ${allow}.`);
  };
}

function answerOptions(allow: string): RequestHandler {
  return (_request, response) => {
    response.writeHead(204, { allow: `${allow}, OPTIONS` });
    response.end();
  };
}

const PROTOCOL_ERRORS: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  HPE_HEADER_OVERFLOW: ['headers_too_large', `The headers are larger than ${MAX_HEADER_BYTES} bytes.`],
  ERR_HTTP_REQUEST_TIMEOUT: ['request_timeout', 'The request did not arrive in time.'],
};

/** What Node's HTTP parser refuses never reaches Express; it is answered by a problem document as well. */
function protocolError(error: NodeJS.ErrnoException): ServiceError {
  const [code, detail] = PROTOCOL_ERRORS[error.code ?? ''] ?? ['invalid_request', 'The request is not valid HTTP.'];
  return new ServiceError(code, detail);
}

/** A problem document on a bare connection, which it ends. Returns its status. */
function writeProblem(socket: Duplex, error: ServiceError): number {
  const problem = toProblem(error);
  const body = JSON.stringify(problem);
  socket.end(
    [
      `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
      'Content-Type: application/problem+json; charset=utf-8',
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Connection: close',
      '',
      body,
    ].join('\r\n'),
  );
  return problem.status;
}
