import { EventEmitter, once } from 'node:events';
import { connect as connectWithAmqplib, type Channel, type ChannelModel } from 'amqplib';
import { delay, withDeadline, type Logger, type Service } from '@sluice/runtime';
import { createBackoff } from './backoff.js';
import { unavailable } from './broker-errors.js';
import { closeWithin, closing } from './closing.js';
import { shareWrites } from './shared-writes.js';

const CONNECT_TIMEOUT_MS = 10_000;
const CLOSE_TIMEOUT_MS = 3_000;
const DECLARE_TIMEOUT_MS = 10_000;
const RECONNECT = { firstMs: 100, maxMs: 5_000 };
/** A peer that vanished without a word is noticed after two to three of these. */
const HEARTBEAT_SECONDS = 15;

/** `blocked`: the broker is short of memory or disk and takes no publishes; consuming goes on. */
export type ConnectionState = 'disconnected' | 'connected' | 'blocked';

/** Declares exchanges and queues on a channel of its own; must be idempotent. */
export type Declaration = (channel: Channel) => Promise<void>;

/** One TCP connection that is opened again whenever it is lost. */
export interface BrokerConnection extends Service {
  readonly name: string;
  readonly state: ConnectionState;
  /** How many times it has been opened: 0 before the first, and never the same for two connections. */
  readonly generation: number;
  /** The open connection; waits while there is none. Rejects when `signal` aborts. */
  open(signal: AbortSignal): Promise<ChannelModel>;
  /**
   * Runs a declaration now, and again after every reconnect and on `restore`; one with the same key replaces it.
   * Rejects with `broker_unavailable` when not connected, with the broker's error when the broker refuses.
   */
  declare(key: string, declaration: Declaration): Promise<void>;
  /** Runs `work` once on a channel of its own. Rejects with `broker_unavailable` when not connected. */
  use<T>(work: (channel: Channel) => Promise<T>): Promise<T>;
  /** Runs every kept declaration again: a queue or exchange may have been deleted under a channel. */
  restore(): Promise<void>;
}

export interface BrokerConnectionOptions {
  /** `amqp:` or `amqps:`, with user, password and virtual host. `?heartbeat=<seconds>` replaces the default of 15. */
  readonly url: string;
  /** Shown to operators by the broker's management pages. */
  readonly name: string;
  readonly logger: Logger;
  /** How long `start` waits for the first connection, in milliseconds; 60,000 when absent. */
  readonly startTimeoutMs?: number;
  /** How to open a connection; amqplib's `connect` when absent. */
  readonly connect?: typeof connectWithAmqplib;
}

/**
 * Connects to the broker and keeps connected, for ever, until stopped.
 *
 * ```
 * disconnected ──(open)──▶ connected ◀──(alarm begins, ends)──▶ blocked
 *      ▲                       │                                   │
 *      └──(lost; wait 0.1 … 5 s)──────────────────────────────────┘
 * ```
 *
 * `start` rejects with `broker_unavailable` when there is no connection within `startTimeoutMs`; the tries go on until
 * `stop`. amqplib's own recovery is not used: it brings back connections but not channels, so the state would be
 * spread over two supervisors.
 */
export function createBrokerConnection(options: BrokerConnectionOptions): BrokerConnection {
  const { name, startTimeoutMs = 60_000, connect = connectWithAmqplib } = options;
  const logger = options.logger.child({ connection: name });
  const url = withHeartbeat(options.url);
  const halt = new AbortController();
  const opened = new EventEmitter().setMaxListeners(0);
  const declarations = new Map<string, Declaration>();
  let model: ChannelModel | undefined;
  let lost: Promise<unknown> = Promise.resolve();
  let generation = 0;
  let blocked = false;
  let destroySocket = (): void => undefined;
  let restoring: Promise<void> | undefined;
  let running: Promise<void> | undefined;
  let stopping: Promise<void> | undefined;

  async function run(): Promise<void> {
    const backoff = createBackoff(RECONNECT);
    let told = false;
    while (!halt.signal.aborted) {
      const beganMs = performance.now();
      let connected = false;
      const reason = await hold(() => (connected = true)).catch((error: unknown) => error);
      if (halt.signal.aborted) return;
      if (connected || !told) logger.warn({ err: reason }, 'the broker is out of reach, trying until it is back');
      told = true;
      await delay(backoff.next(connected ? performance.now() - beganMs : 0), halt.signal);
    }
  }

  /** Connects and resolves with the reason when the connection is lost. */
  async function hold(onConnected: () => void): Promise<Error | undefined> {
    const socket = new AbortController();
    destroySocket = () => socket.abort();
    // n.b. net and tls take the signal, amqplib hands it through: the only way to drop a peer that no longer answers.
    const socketOptions = {
      noDelay: true,
      keepAlive: true,
      timeout: CONNECT_TIMEOUT_MS,
      signal: socket.signal,
      clientProperties: { connection_name: name },
    };
    try {
      const fresh = await connect(url, socketOptions);
      shareWrites(fresh);
      const closed = closing(fresh);
      lost = closed;
      fresh.on('blocked', (reason) => {
        blocked = true;
        logger.warn({ reason }, 'the broker takes no publishes');
      });
      fresh.on('unblocked', () => {
        blocked = false;
        logger.info('the broker takes publishes again');
      });
      await declareOn(fresh).catch(logRestoreError);
      generation += 1;
      model = fresh;
      onConnected();
      logger.info('connected to the broker');
      opened.emit('open');
      return await closed;
    } finally {
      model = undefined;
      blocked = false;
      // The closing handshake may still be on its way; a socket whose peer is gone would linger without this.
      setTimeout(() => socket.abort(), 1_000).unref();
    }
  }

  /** With a deadline, because all channels wait for it and one queue without a leader must not hold up the others. */
  function declareOn(target: ChannelModel): Promise<void> {
    const all = (async () => {
      for (const declaration of declarations.values()) await withChannel(target, declaration);
    })();
    return withDeadline(all, DECLARE_TIMEOUT_MS, () => new Error(`no answer within ${DECLARE_TIMEOUT_MS} ms`));
  }

  function logRestoreError(error: unknown): void {
    logger.error({ err: error }, 'exchanges and queues could not be declared again');
  }

  async function open(signal: AbortSignal): Promise<ChannelModel> {
    while (model === undefined) await once(opened, 'open', { signal });
    return model;
  }

  return {
    name,
    get state() {
      if (model === undefined) return 'disconnected';
      return blocked ? 'blocked' : 'connected';
    },
    get generation() {
      return generation;
    },
    open,
    async use(work) {
      if (model === undefined) throw unavailable('The broker is not connected.');
      return withChannel(model, work);
    },
    async declare(key, declaration) {
      if (model === undefined) throw unavailable('The broker is not connected.');
      await withChannel(model, declaration);
      declarations.set(key, declaration);
    },
    restore() {
      if (model === undefined) return Promise.resolve();
      restoring ??= declareOn(model)
        .catch(logRestoreError)
        .finally(() => (restoring = undefined));
      return restoring;
    },
    start() {
      running ??= run();
      const connected = open(halt.signal).then(
        () => undefined,
        () => Promise.reject(unavailable('The connection was stopped before it was open.')),
      );
      return withDeadline(connected, startTimeoutMs, () =>
        unavailable(`The broker did not answer within ${startTimeoutMs} ms.`),
      );
    },
    stop() {
      stopping ??= (async () => {
        halt.abort();
        if (model) await closeWithin(model, lost, CLOSE_TIMEOUT_MS);
        destroySocket();
        await running;
      })();
      return stopping;
    },
  };
}

/** Uses a channel once; an error of the broker closes it, and only it. */
async function withChannel<T>(model: ChannelModel, use: (channel: Channel) => Promise<T>): Promise<T> {
  const channel = await model.createChannel();
  const closed = closing(channel);
  try {
    return await use(channel);
  } finally {
    await closeWithin(channel, closed, CLOSE_TIMEOUT_MS);
  }
}

function withHeartbeat(text: string): string {
  const url = new URL(text);
  if (!url.searchParams.has('heartbeat')) url.searchParams.set('heartbeat', String(HEARTBEAT_SECONDS));
  return url.href;
}
