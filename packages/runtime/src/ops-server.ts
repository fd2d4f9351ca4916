import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Service } from './lifecycle.js';
import type { Logger } from './logger.js';

export interface OpsServerOptions {
  readonly host: string;
  /** 0 picks a free port; undefined switches the server off. */
  readonly port: number | undefined;
  /** False when only a restart would help. */
  readonly live: () => boolean;
  /** False when work should not be sent here now. */
  readonly ready: () => boolean | Promise<boolean>;
  /** What `/health` shows: numbers and states, no secrets. */
  readonly detail: () => unknown;
  readonly logger: Logger;
}

export interface OpsServer extends Service {
  readonly port: number | undefined;
}

/** `/livez`, `/readyz` and `/health` for programs that serve no tenants over HTTP. */
export function createOpsServer(options: OpsServerOptions): OpsServer {
  const { host, port, logger } = options;
  const server = createServer((request, response) => {
    answer(request.url ?? '/', response).catch((error: unknown) => {
      logger.error({ err: error }, 'a health check failed');
      send(response, 503, { ok: false });
    });
  });

  async function answer(url: string, response: ServerResponse): Promise<void> {
    const path = url.split('?')[0];
    if (path === '/livez') return send(response, options.live() ? 200 : 503, { ok: options.live() });
    if (path !== '/readyz' && path !== '/health') return send(response, 404, { ok: false });
    const ok = await options.ready();
    send(
      response,
      ok ? 200 : 503,
      path === '/health' ? { ok, live: options.live(), detail: options.detail() } : { ok },
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

function send(response: ServerResponse, status: number, body: unknown): void {
  if (response.headersSent) return;
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(JSON.stringify(body));
}
