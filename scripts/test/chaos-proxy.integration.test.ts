import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { findFreePorts } from '@sluice/local-services';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createTcpProxy, DIRECTIONS, type TcpProxy } from '../src/chaos/tcp-proxy.js';

let server: Server;
let proxy: TcpProxy;
/** The server's ends of the connections, in the order in which they were opened. */
let accepted: Socket[];
let clients: Socket[];

beforeEach(async () => {
  accepted = [];
  clients = [];
  server = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push(socket.on('error', () => undefined));
    socket.pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const [free = 0] = await findFreePorts(1);
  proxy = await createTcpProxy(free, { host: '127.0.0.1', port: serverPort() });
});
afterEach(async () => {
  for (const socket of [...clients, ...accepted]) socket.destroy();
  await proxy.close();
  server.close();
});

function serverPort(): number {
  return (server.address() as AddressInfo).port;
}

async function open(port = proxy.port): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1' });
  clients.push(socket);
  await once(socket, 'connect');
  return socket;
}

/** Sends a text and resolves with what comes back first. */
async function echo(socket: Socket, text: string): Promise<string> {
  socket.write(text);
  const [data] = (await once(socket, 'data')) as [Buffer];
  return data.toString();
}

function errorOf(socket: Socket): Promise<string> {
  return new Promise((resolve) => socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? '')));
}

describe('a proxy', () => {
  it('forwards both directions, the end of one included', async () => {
    const socket = await open();
    expect(await echo(socket, 'hello')).toBe('hello');
    socket.end('bye');
    const [data] = (await once(socket, 'data')) as [Buffer];
    expect(data.toString()).toBe('bye');
    await once(socket, 'end');
  });

  it('resets every connection', async () => {
    const sockets = [await open(), await open()];
    for (const socket of sockets) await echo(socket, 'x');
    const errors = Promise.all(sockets.map(errorOf));
    expect(proxy.reset()).toBe(2);
    expect(await errors).toEqual(['ECONNRESET', 'ECONNRESET']);
    expect(await echo(await open(), 'again')).toBe('again');
  });

  it.each(DIRECTIONS)('holds back what goes %s until it is released, without losing it', async (direction) => {
    const socket = await open();
    await echo(socket, 'x');
    proxy.hold(direction);
    let answered = false;
    const answer = echo(socket, 'held').then((text) => {
      answered = true;
      return text;
    });
    proxy.hold(direction === 'toServer' ? 'toClient' : 'toServer');
    proxy.release(direction === 'toServer' ? 'toClient' : 'toServer');
    // Time enough for an answer: others that go past the proxy have theirs.
    for (let times = 0; times < 20; times++) expect(await echo(await open(serverPort()), 'past')).toBe('past');
    expect(answered).toBe(false);
    proxy.release(direction);
    expect(await answer).toBe('held');
  });

  it('refuses new connections and keeps the open ones', async () => {
    const socket = await open();
    await echo(socket, 'x');
    await proxy.refuse();
    const late = connect({ port: proxy.port, host: '127.0.0.1' });
    expect(await errorOf(late)).toBe('ECONNREFUSED');
    expect(await echo(socket, 'still')).toBe('still');
    await proxy.accept();
    expect(await echo(await open(), 'back')).toBe('back');
  });

  it('cuts a connection after so many bytes: the receiver sees them and then the end', async () => {
    const socket = await open();
    await echo(socket, 'x');
    proxy.cutAfter('toServer', 3);
    const receiver = accepted[0];
    if (!receiver) throw new Error('nothing was accepted');
    const seen: Buffer[] = [];
    receiver.on('data', (data: Buffer) => void seen.push(data));
    const cut = errorOf(socket);
    socket.write('frame');
    await once(receiver, 'end');
    expect(Buffer.concat(seen).toString()).toBe('fra');
    expect(await cut).toBe('ECONNRESET');
  });

  it('ends at once, when told to, the connections that would still be cut, and no other', async () => {
    const doomed = await open();
    await echo(doomed, 'x');
    proxy.cutAfter('toClient', 1_000);
    const spared = await open();
    await echo(spared, 'x');
    const error = errorOf(doomed);
    proxy.cutNow();
    expect(await error).toBe('ECONNRESET');
    expect(await echo(spared, 'y')).toBe('y');
  });

  it('lets clients in and resets them when nothing listens behind it', async () => {
    server.close();
    await once(server, 'close');
    const socket = connect({ port: proxy.port, host: '127.0.0.1' });
    expect(await errorOf(socket)).toBe('ECONNRESET');
  });
});
