import { connect as connectTcp, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';

const ATTEMPT_TIMEOUT_MS = 2_000;
/** How long the rest of an answer may take that began differently. */
const REFUSAL_TIMEOUT_MS = 100;
const POLL_MS = 10;

/** Where a server listens. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly tls?: boolean;
}

/**
 * A question in a server's own protocol and how to tell that it was answered well. An open port proves nothing:
 * servers accept connections long before they can serve them.
 */
export interface Greeting {
  readonly hello: Buffer;
  readonly isAnswer: (reply: Buffer) => boolean;
}

/** Redis answers `PING`, after credentials where there are any. */
export function redisGreeting(credentials?: { readonly username: string; readonly password: string }): Greeting {
  const authenticate = credentials
    ? respCommand(
        credentials.username ? ['AUTH', credentials.username, credentials.password] : ['AUTH', credentials.password],
      )
    : '';
  return {
    hello: Buffer.from(authenticate + respCommand(['PING'])),
    isAnswer: (reply) => reply.toString('latin1').includes('+PONG\r\n'),
  };
}

/** PostgreSQL answers a startup packet (protocol 3.0) with an `R` message; while it starts or recovers it answers `E`. */
export const postgresGreeting: Greeting = {
  hello: startupPacket({ user: 'postgres', database: 'postgres' }),
  isAnswer: (reply) => reply[0] === 'R'.charCodeAt(0),
};

/** RabbitMQ answers the AMQP 0-9-1 header with a method frame (type 1), `connection.start`. */
export const amqpGreeting: Greeting = {
  hello: Buffer.from('AMQP\x00\x00\x09\x01', 'latin1'),
  isAnswer: (reply) => reply[0] === 1,
};

/** The management plugin answers HTTP; 401 without credentials is an answer too. */
export const managementGreeting: Greeting = {
  hello: Buffer.from('GET /api/whoami HTTP/1.0\r\nHost: localhost\r\n\r\n'),
  isAnswer: (reply) => /^HTTP\/1\.\d (200|401)/.test(reply.toString('latin1')),
};

/** One attempt: resolves true when the server answers the greeting as expected. Never rejects. */
export function answers(endpoint: Endpoint, { hello, isAnswer }: Greeting): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = open(endpoint);
    let reply = Buffer.alloc(0);
    const finish = (ok: boolean): void => {
      socket.destroy();
      resolve(ok);
    };
    socket
      .setTimeout(ATTEMPT_TIMEOUT_MS, () => finish(false))
      .on('error', () => finish(false))
      .on('close', () => finish(false))
      .on(endpoint.tls ? 'secureConnect' : 'connect', () => socket.write(hello))
      .on('data', (chunk: Buffer) => {
        reply = Buffer.concat([reply, chunk]);
        if (isAnswer(reply)) finish(true);
        // What it says is not the answer (yet): Redis, for one, refuses politely while it loads its data.
        else socket.setTimeout(REFUSAL_TIMEOUT_MS);
      });
  });
}

/** Asks again and again until the server answers or `signal` aborts, and then returns false. */
export async function waitForAnswer(endpoint: Endpoint, greeting: Greeting, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    if (await answers(endpoint, greeting)) return true;
    await sleep(POLL_MS);
  }
  return false;
}

function open({ host, port, tls }: Endpoint): Socket {
  // n.b. whether to trust the certificate is the clients' decision; here only an answer is wanted.
  return tls ? connectTls({ host, port, servername: host, rejectUnauthorized: false }) : connectTcp({ host, port });
}

function respCommand(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;
}

function startupPacket(parameters: Readonly<Record<string, string>>): Buffer {
  const pairs = Object.entries(parameters).map(([name, value]) => `${name}\0${value}\0`);
  const body = Buffer.from(`\0\x03\0\0${pairs.join('')}\0`, 'latin1');
  const length = Buffer.alloc(4);
  length.writeInt32BE(body.length + length.length);
  return Buffer.concat([length, body]);
}
