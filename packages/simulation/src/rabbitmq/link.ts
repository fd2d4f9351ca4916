import type { ChannelModel as PublicChannelModel } from 'amqplib';
import type { SimProcess } from '../kernel/types.js';
import { ChannelModel } from './amqplib.js';
import type { Broker } from './broker.js';
import { ClientConnection } from './client-connection.js';
import type { Frame } from './frames.js';
import { createSession, type Session } from './session.js';
import { createWire, type Wire } from './wire.js';

/** What the broker wants when a client names no heartbeat. */
const DEFAULT_HEARTBEAT_SECONDS = 60;

export interface LinkOptions {
  readonly broker: Broker;
  readonly process: SimProcess;
  readonly url: string;
  /** For the trace and the faults: the connection's name. */
  readonly name: string;
  /** How long the client waits until it is connected, in milliseconds; for ever when absent. */
  readonly timeoutMs: number | undefined;
  /** Drops the socket. */
  readonly signal: AbortSignal | undefined;
  /** Whether the broker takes connections now. */
  readonly isUp: () => boolean;
  readonly onSession: (session: Session) => void;
  readonly onEnded: () => void;
}

/** One connection with both its ends. */
export interface Link {
  readonly process: SimProcess;
  readonly name: string;
  readonly wire: Wire;
  readonly session: Session | undefined;
  /** Becomes a black hole: each end gives the other up after two to three heartbeats. */
  freeze(): void;
  /** One heartbeat has passed: the broker gives up a client from which nothing came between three of them. */
  beat(): void;
  readonly heartbeatMs: number;
}

export interface Connecting {
  readonly link: Link;
  /** Settles as amqplib's `connect` does. */
  readonly connected: Promise<PublicChannelModel>;
}

/**
 * Connects a process to the broker.
 *
 * The handshake is one round trip, and everything in it succeeds unless the broker is down: users and virtual hosts are
 * not checked.
 */
export function openLink(options: LinkOptions): Connecting {
  const { broker, process, name, signal } = options;
  const { random, kernel } = broker;
  const { user, heartbeatMs } = partsOf(options.url);
  let session: Session | undefined;
  let client: ClientConnection | undefined;
  let settle: { resolve: (model: PublicChannelModel) => void; reject: (error: Error) => void };
  const connected = new Promise<PublicChannelModel>((resolve, reject) => (settle = { resolve, reject }));
  let frozen = false;
  let missed = 0;

  const wire = createWire({
    ...{ kernel, random, process, name },
    onServerLost() {
      if (session === undefined) options.onEnded();
      else session.end();
    },
    onClientLost(error) {
      forgetSignal();
      if (client === undefined) settle.reject(error);
      else client.onSocketError(error);
    },
  });

  const toClient = (frame: Frame): void => wire.toClient(() => client?.receive(frame));

  function arriveAtServer(): void {
    if (!options.isUp()) {
      wire.toClient(() => {
        forgetSignal();
        settle.reject(refused());
      });
      wire.closeByServer();
      return options.onEnded();
    }
    session = createSession({ broker, wire, user, send: toClient, onEnded: options.onEnded });
    options.onSession(session);
    wire.toClient(onConnected);
  }

  function onConnected(): void {
    timeout?.cancel();
    client = new ClientConnection({
      send: (frame) => wire.toServer(() => session?.receive(frame)),
      onClosed() {
        forgetSignal();
        wire.closeByClient();
      },
    });
    settle.resolve(new ChannelModel(client));
  }

  /** The client drops its socket. */
  function dropSocket(error: Error): void {
    timeout?.cancel();
    settle.reject(error);
    client?.onSocketError(error);
    wire.closeByClient();
  }

  const timeout =
    options.timeoutMs === undefined
      ? undefined
      : kernel.schedule(options.timeoutMs, process, `connect timeout of ${name}`, () =>
          dropSocket(new Error('connect ETIMEDOUT')),
        );
  const abort = (): void => dropSocket(aborted());
  signal?.addEventListener('abort', abort, { once: true });
  const forgetSignal = (): void => signal?.removeEventListener('abort', abort);
  wire.toServer(arriveAtServer);

  /** From two to three heartbeats. */
  const patienceMs = (): number => heartbeatMs * random.between(2, 3);

  const link: Link = {
    process,
    name,
    wire,
    heartbeatMs,
    get session() {
      return session;
    },
    freeze() {
      frozen = true;
      wire.freeze();
      if (client !== undefined && heartbeatMs > 0)
        kernel.schedule(patienceMs(), process, `heartbeat timeout of ${name}`, () => client?.missHeartbeats());
    },
    beat() {
      missed = frozen || process.paused ? missed + 1 : 0;
      if (missed <= 2) return;
      session?.end();
      wire.closeByServer();
    },
  };
  return { link, connected };
}

function partsOf(text: string): { user: string; heartbeatMs: number } {
  const url = new URL(text);
  const seconds = url.searchParams.get('heartbeat');
  return {
    user: decodeURIComponent(url.username) || 'guest',
    heartbeatMs: (seconds === null ? DEFAULT_HEARTBEAT_SECONDS : Number(seconds)) * 1_000,
  };
}

function refused(): Error {
  return Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:5672'), { code: 'ECONNREFUSED', syscall: 'connect' });
}

function aborted(): Error {
  return Object.assign(new Error('The operation was aborted'), { name: 'AbortError', code: 'ABORT_ERR' });
}
