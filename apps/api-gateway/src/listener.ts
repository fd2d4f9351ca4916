import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { delay, type Service } from '@sluice/runtime';

export interface ListenerOptions {
  readonly server: Server;
  readonly host: string;
  /** 0 picks a free port. */
  readonly port: number;
  /** Time between "not ready" and closing the listener, in milliseconds. */
  readonly shutdownDelayMs: number;
  /** Aborted first: readiness turns red and long polls answer. */
  readonly draining: AbortController;
}

export interface Listener extends Service {
  readonly port: number;
}

const IDLE_SWEEP_MS = 100;

/** Listens; on stop refuses new connections, lets every request in flight finish, and closes idle connections. */
export function createListener({ server, host, port, shutdownDelayMs, draining }: ListenerOptions): Listener {
  return {
    get port() {
      return (server.address() as AddressInfo | null)?.port ?? 0;
    },
    async start() {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, host, 4096, () => {
          server.off('error', reject);
          resolve();
        });
      });
    },
    async stop() {
      draining.abort();
      if (!server.listening) return;
      await delay(shutdownDelayMs);
      // n.b. close() ends connections that are idle at that moment; one that turns idle later is ended here.
      const sweep = setInterval(() => server.closeIdleConnections(), IDLE_SWEEP_MS);
      await new Promise<void>((resolve) => server.close(() => resolve()));
      clearInterval(sweep);
    },
  };
}
