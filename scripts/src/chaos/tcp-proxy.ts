import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createValve, type Valve } from './valve.js';

/** `toServer`: what clients say. `toClient`: what the server answers. */
export type Direction = 'toServer' | 'toClient';
export const DIRECTIONS = ['toServer', 'toClient'] as const satisfies readonly Direction[];

/** A TCP port that leads to another one, and can fail as a network does. */
export interface TcpProxy {
  readonly port: number;
  /** Connections open now. */
  readonly connections: number;
  /** Holds back all bytes of this direction, of new connections as well; nobody is told. */
  hold(direction: Direction): void;
  /** What was held back goes on its way. */
  release(direction: Direction): void;
  /** Every read of either direction takes this much longer; 0 ends it. Milliseconds. */
  delay(delayMs: number): void;
  /** New connections are refused by the system (ECONNREFUSED); those that are open stay. */
  refuse(): Promise<void>;
  accept(): Promise<void>;
  /** Every connection ends with RST to both sides; how many there were. */
  reset(): number;
  /** On every connection, once `bytes` more have gone this direction, the receiver sees the end and the sender an RST. */
  cutAfter(direction: Direction, bytes: number): void;
  /** Ends, with RST, the connections on which less was said than `cutAfter` has waited for. */
  cutNow(): void;
  /** Ends everything. */
  close(): Promise<void>;
}

interface Pair {
  readonly client: Socket;
  readonly upstream: Socket;
  readonly budget: Partial<Record<Direction, number>>;
}

/**
 * Listens on `port` of 127.0.0.1 and forwards to `target`. n.b. when nothing listens there, clients are let in and then
 * reset, as by a load balancer.
 */
export async function createTcpProxy(port: number, target: { host: string; port: number }): Promise<TcpProxy> {
  const pairs = new Set<Pair>();
  const valves: Readonly<Record<Direction, Valve>> = { toServer: createValve(), toClient: createValve() };
  let server = await listen();

  async function listen(): Promise<Server> {
    const fresh = createServer({ allowHalfOpen: true, noDelay: true }, forward).listen({ port, host: '127.0.0.1' });
    await once(fresh, 'listening');
    return fresh;
  }

  function forward(client: Socket): void {
    const upstream = connect({ ...target, allowHalfOpen: true, noDelay: true });
    const pair: Pair = { client, upstream, budget: {} };
    pairs.add(pair);
    for (const socket of [client, upstream]) {
      socket.on('error', () => destroy(pair));
      socket.on('close', () => client.destroyed && upstream.destroyed && pairs.delete(pair));
    }
    void pump(pair, 'toServer');
    void pump(pair, 'toClient');
  }

  async function pump(pair: Pair, direction: Direction): Promise<void> {
    const [from, to] = direction === 'toServer' ? [pair.client, pair.upstream] : [pair.upstream, pair.client];
    try {
      // n.b. the usual iterator destroys a socket at the end of what it reads, and with it the way back.
      for await (const chunk of from.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        await valves[direction].pass();
        const left = pair.budget[direction];
        if (left !== undefined && chunk.length >= left) return cut(from, to, chunk.subarray(0, left));
        if (left !== undefined) pair.budget[direction] = left - chunk.length;
        if (!to.write(chunk)) await once(to, 'drain');
      }
      to.end();
    } catch {
      destroy(pair);
    }
  }

  return {
    port,
    get connections() {
      return pairs.size;
    },
    hold: (direction) => valves[direction].hold(),
    release: (direction) => valves[direction].release(),
    delay(delayMs) {
      for (const direction of DIRECTIONS) valves[direction].delayMs = delayMs;
    },
    async refuse() {
      if (server.listening) server.close();
    },
    async accept() {
      if (!server.listening) server = await listen();
    },
    reset() {
      const open = [...pairs];
      for (const pair of open) destroy(pair);
      return open.length;
    },
    cutAfter(direction, bytes) {
      for (const { budget } of pairs) budget[direction] = bytes;
    },
    cutNow() {
      for (const pair of pairs) if (Object.keys(pair.budget).length > 0) destroy(pair);
    },
    async close() {
      server.close();
      for (const { client, upstream } of pairs) for (const socket of [client, upstream]) socket.destroy();
      for (const direction of DIRECTIONS) valves[direction].release();
    },
  };
}

function destroy({ client, upstream }: Pair): void {
  for (const socket of [client, upstream]) end(socket);
}

/** n.b. a reset fails without a word where an RST comes in meanwhile; the descriptor left over must not keep us running. */
function end(socket: Socket): void {
  socket.unref();
  if (socket.readyState === 'open' || socket.connecting) socket.resetAndDestroy();
  else socket.destroy();
}

/** n.b. an RST to the receiver could overtake what it has not read yet, and the frame would not be seen as cut. */
function cut(from: Socket, to: Socket, last: Buffer): void {
  to.end(last, () => to.destroy());
  end(from);
}
