import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Service } from './lifecycle.js';
import type { Logger } from './logger.js';

/** The text format of Prometheus. */
const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export interface OpsServerOptions {
  readonly host: string;
  /** 0 picks a free port; undefined switches the server off. */
  readonly port: number | undefined;
  /** False when only a restart would help. */
  readonly live: () => boolean;
  /** False when work should not be sent here now. */
  readonly ready: () => boolean | Promise<boolean>;
  /** What `/health` shows, or a promise of it: numbers and states, no secrets. */
  readonly detail: () => unknown;
  /** What `/metrics` answers, in the text format of Prometheus; there is no such page when absent. */
  readonly metrics?: () => string | Promise<string>;
  /** What else there is, by path without the query; undefined for a path that there is not. */
  readonly page?: (path: string) => Promise<OpsPage | undefined>;
  readonly logger: Logger;
}

/** An answer; `body` is sent as JSON. */
export interface OpsPage {
  readonly status: number;
  readonly contentType: string;
  readonly body: unknown;
}

export interface OpsServer extends Service {
  readonly port: number | undefined;
}

/** `/livez`, `/readyz`, `/health` and `/metrics` for operators, on a port that tenants do not reach. */
export function createOpsServer(options: OpsServerOptions): OpsServer {
  const { host, port, logger } = options;
  const server = createServer((request, response) => {
    answer(request.url ?? '/', response).catch((error: unknown) => {
      logger.error({ err: error }, 'a health check failed');
      send(response, 503, { ok: false });
    });
  });

  async function answer(url: string, response: ServerResponse): Promise<void> {
    const [path = ''] = url.split('?');
    if (path === '/livez') return send(response, options.live() ? 200 : 503, { ok: options.live() });
    if (path === '/metrics' && options.metrics) {
      return write(response, 200, METRICS_CONTENT_TYPE, await options.metrics());
    }
    if (path !== '/readyz' && path !== '/health') return sendPage(response, await options.page?.(path));
    const ok = await options.ready();
    send(
      response,
      ok ? 200 : 503,
      path === '/health' ? { ok, live: options.live(), detail: await options.detail() } : { ok },
    );
  }

  return {
    get port() {
      return (server.address() as AddressInfo | null)?.port;
    },
    async start() {
      if (port === undefined) return;
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, host, () => {
          server.off('error', reject);
          resolve();
        });
      });
    },
    async stop() {
      if (!server.listening) return;
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

function sendPage(response: ServerResponse, page: OpsPage | undefined): void {
  if (page === undefined) return send(response, 404, { ok: false });
  write(response, page.status, page.contentType, JSON.stringify(page.body));
}

function send(response: ServerResponse, status: number, body: unknown): void {
  write(response, status, 'application/json', JSON.stringify(body));
}

function write(response: ServerResponse, status: number, contentType: string, text: string): void {
  if (response.headersSent) return;
  response.writeHead(status, { 'content-type': contentType, 'cache-control': 'no-store' });
  response.end(text);
}
