import type { ChannelModel, connect as connectWithAmqplib, Options, SocketOptions } from 'amqplib';
import type { Kernel, SimProcess } from '../kernel/types.js';
import { createBroker } from './broker.js';
import { createHeartbeats } from './heartbeats.js';
import { openLink, type Link } from './link.js';

/** How much there is in a queue. */
export interface QueueDepth {
  readonly name: string;
  readonly ready: number;
  /** Given to somebody who has not settled it, or who has gone and the broker has not noticed. */
  readonly unacked: number;
  readonly consumers: number;
}

export interface SimRabbitOptions {
  /** Part of the messages to quorum queues that the queue takes only after up to 300 ms, 0 … 1; 0.03 when absent. */
  readonly stallChance?: number;
}

/** A RabbitMQ in memory, for amqplib. */
export interface SimRabbit {
  /** amqplib's `connect`, for this process. Only URLs as texts; the host is not looked at. */
  connect(process: SimProcess): typeof connectWithAmqplib;

  /**
   * Resets connections, of one process or of all: deliveries that were not settled go back, confirms and publishes under
   * way are lost but for some of the first. Each is hit with this chance (0 … 1; certain when absent).
   */
  dropConnections(process?: SimProcess, chance?: number): void;
  /**
   * Lets nothing through between the broker and a process for so long, in milliseconds. Connections that were open never
   * recover: both ends give them up after two to three heartbeats. Those tried meanwhile time out.
   */
  blackHole(process: SimProcess, forMs: number): void;
  /** Resets the connections of a process, and refuses it new ones for so long, in milliseconds. */
  cutOff(process: SimProcess, forMs: number): void;
  /** Ends the broker: `kill` as -9 does, `shutdown` in order, closing connections (320). Nothing when it is down. */
  stop(how?: 'kill' | 'shutdown'): void;
  /** Starts it again: durable queues and their persistent messages are there. Nothing when it is up. */
  start(): void;
  /** `stop`, and `start` after so long, in milliseconds. */
  restart(downMs?: number, how?: 'kill' | 'shutdown'): void;
  /** Memory or disk is short: connections that publish are blocked until `unblock`. */
  block(): void;
  unblock(): void;

  readonly up: boolean;
  /** Messages in a queue, ready or unacked; 0 when there is no such queue. */
  depth(queue: string): number;
  queues(): readonly QueueDepth[];
  /** Nothing is ready, unacked or under way, be it only a heartbeat's answer. */
  readonly idle: boolean;
  /** As `idle`, whatever is in these queues. */
  isIdleBut(queues: readonly string[]): boolean;
}

/**
 * RabbitMQ 3.10 to 4.2 as one node, at the level of amqplib: amqplib's own channels talk to it in decoded frames. Time is
 * the kernel's: every frame is an event where it arrives, in the order of its connection and direction.
 *
 * What it does not have throws NotSimulated, which ends the run. n.b. a nack counts towards the delivery limit, which
 * 4.3 has changed.
 */
export function createSimRabbit(kernel: Kernel, options: SimRabbitOptions = {}): SimRabbit {
  const broker = createBroker(kernel, options.stallChance ?? 0.03);
  const links = new Set<Link>();
  const holes = new Map<SimProcess, number>();
  const refusedUntilMs = new Map<SimProcess, number>();
  const heartbeats = createHeartbeats(kernel, links);
  let up = true;
  let alarm = false;

  function connect(
    process: SimProcess,
    url: string,
    options: SocketOptions & { signal?: AbortSignal },
  ): Promise<ChannelModel> {
    const { connection_name: name } = options.clientProperties ?? {};
    const { link, connected } = openLink({
      ...{ broker, process, url },
      name: `${process.name} ${typeof name === 'string' ? name : 'connection'}`,
      timeoutMs: options.timeout,
      signal: options.signal,
      isUp: () => up && (refusedUntilMs.get(process) ?? 0) <= kernel.elapsedMs,
      onSession: (session) => session.setAlarm(alarm),
      onEnded: () => links.delete(link),
    });
    if ((holes.get(process) ?? 0) > kernel.elapsedMs) link.wire.freeze();
    else links.add(link);
    heartbeats.watch();
    return connected;
  }

  function stop(how: 'kill' | 'shutdown' = 'kill'): void {
    if (!up) return;
    up = false;
    for (const { session, wire } of [...links]) {
      session?.end();
      if (how === 'shutdown' && session) session.closeForced();
      else wire.crashOfServer();
    }
    links.clear();
    broker.stop();
  }

  function start(): void {
    if (up) return;
    up = true;
    broker.start();
  }

  function dropConnections(process?: SimProcess, chance = 1): void {
    for (const link of [...links])
      if ((process === undefined || link.process === process) && broker.random.chance(chance)) link.wire.reset();
  }

  function setAlarm(on: boolean): void {
    alarm = on;
    for (const { session } of [...links]) session?.setAlarm(on);
  }

  const queues = (): QueueDepth[] =>
    [...broker.queues.values()].map(({ name, ready, unacked, consumers }) => ({ name, ready, unacked, consumers }));

  function isIdleBut(ignored: readonly string[]): boolean {
    if (broker.underWay > 0 || [...links].some(({ wire }) => wire.underWay > 0)) return false;
    return queues().every(({ name, ready, unacked }) => ready + unacked === 0 || ignored.includes(name));
  }

  return {
    connect: (process) =>
      ((url: string | Options.Connect, options: SocketOptions = {}) => {
        if (typeof url !== 'string') throw new TypeError('The simulated RabbitMQ takes URLs as texts.');
        return connect(process, url, options);
      }) as typeof connectWithAmqplib,
    dropConnections,
    blackHole(process, forMs) {
      holes.set(process, kernel.elapsedMs + forMs);
      for (const link of links) if (link.process === process) link.freeze();
    },
    cutOff(process, forMs) {
      refusedUntilMs.set(process, kernel.elapsedMs + forMs);
      dropConnections(process);
    },
    stop,
    start,
    restart(downMs = 0, how = 'kill') {
      stop(how);
      kernel.schedule(downMs, undefined, 'rabbitmq: starts', start);
    },
    block: () => setAlarm(true),
    unblock: () => setAlarm(false),
    get up() {
      return up;
    },
    depth(name) {
      const queue = broker.queues.get(name);
      return queue === undefined ? 0 : queue.ready + queue.unacked;
    },
    queues,
    get idle() {
      return isIdleBut([]);
    },
    isIdleBut,
  };
}
