import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { HttpObserver } from './http-metrics.js';

/** The requests a server is answering now. */
export interface Exchanges {
  begin(request: IncomingMessage, response: ServerResponse): void;
  /** Whether an answer is under way on this connection. */
  isBusy(socket: Duplex): boolean;
  /** From now on every answer, those under way included, is the last one of its connection. */
  makeLast(): void;
}

/** Keeps track of answers under way, so that a server can end while clients go on sending over open connections. */
export function createExchanges(observe: HttpObserver): Exchanges {
  const open = new Map<ServerResponse, Duplex>();
  let last = false;

  return {
    begin(request, response) {
      const { socket } = request;
      const beganMs = performance.now();
      if (last) response.shouldKeepAlive = false;
      open.set(response, socket);
      response.once('close', () => {
        open.delete(response);
        observe(request, response, performance.now() - beganMs);
      });
    },
    isBusy(socket) {
      for (const busy of open.values()) if (busy === socket) return true;
      return false;
    },
    makeLast() {
      last = true;
      // n.b. Node reads this when it writes the head of an answer.
      for (const response of open.keys()) response.shouldKeepAlive = false;
    },
  };
}
