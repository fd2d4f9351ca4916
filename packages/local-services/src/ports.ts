import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';

/** Below the ports that Linux hands to outgoing connections: such a connection cannot take ours while we restart. */
const LOWEST = 20_000;
const HIGHEST = 32_000;

/** `count` different ports of 127.0.0.1 on which nothing listens now; `preferred` ones first where they are free. */
export async function findFreePorts(count: number, preferred: readonly number[] = []): Promise<readonly number[]> {
  const held: Server[] = [];
  try {
    const candidates = [...preferred];
    while (held.length < count) {
      const server = await listenOn(candidates.shift() ?? randomInt(LOWEST, HIGHEST));
      if (server) held.push(server);
    }
    return held.map(portOf);
  } finally {
    await Promise.all(held.map((server) => once(server.close(), 'close')));
  }
}

async function listenOn(port: number): Promise<Server | undefined> {
  const server = createServer().listen({ port, host: '127.0.0.1' });
  try {
    await once(server, 'listening');
    return server;
  } catch {
    return undefined;
  }
}

function portOf(server: Server): number {
  const address = server.address();
  if (typeof address === 'object' && address) return address.port;
  throw new Error('the server does not listen on a port');
}
