import { createServer, request } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';

/** Stands in for the cluster's DNS and network: an HTTP proxy that knows the names of Services. */
export interface NamesProxy {
  readonly url: string;
  /** `sluice-rabbitmq.sluice:15672` is at this origin from now on; nowhere when undefined. */
  route(host: string, origin: string | undefined): void;
  stop(): Promise<void>;
}

export async function startNamesProxy(): Promise<NamesProxy> {
  const origins = new Map<string, string>();
  const server = createServer((incoming, answer) => {
    const asked = new URL(incoming.url ?? '/', 'http://unknown');
    const origin = origins.get(asked.host);
    if (origin === undefined) return void answer.writeHead(502).end(`${asked.host} is not there`);
    const options = { method: incoming.method, headers: { ...incoming.headers, host: asked.host } };
    const outgoing = request(new URL(`${asked.pathname}${asked.search}`, origin), options, (reply) => {
      answer.writeHead(reply.statusCode ?? 502, reply.headers);
      reply.pipe(answer);
    });
    outgoing.on('error', ({ message }) => answer.writeHead(502).end(message));
    incoming.pipe(outgoing);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    route(host, origin) {
      if (origin === undefined) origins.delete(host);
      else origins.set(host, origin);
    },
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
