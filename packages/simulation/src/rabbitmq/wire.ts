import type { Kernel, Random, SimProcess } from '../kernel/types.js';

export interface WireOptions {
  readonly kernel: Kernel;
  readonly random: Random;
  /** The client's process. */
  readonly process: SimProcess;
  /** Of the connection, for the trace. */
  readonly name: string;
  /** Runs at the broker when nothing more will come from the client. */
  readonly onServerLost: () => void;
  /** Runs in the process when nothing more will come from the broker. */
  readonly onClientLost: (error: Error) => void;
}

/** One TCP connection between a process and the broker: both directions, and the ways in which it can end. */
export interface Wire {
  readonly process: SimProcess;
  /** Messages under way that have not been lost. */
  readonly underWay: number;
  /** Runs `action` at the broker, after everything sent before; never, when the connection breaks first. */
  toServer(action: () => void): void;
  /** Runs `action` in the process, likewise. */
  toClient(action: () => void): void;
  /** The client closes its end: the broker notices after everything sent. */
  closeByClient(): void;
  /** The broker closes its end, after everything sent; it hears nothing more. */
  closeByServer(): void;
  /** The broker has died: it hears nothing more, and some of what it sent may still arrive. */
  crashOfServer(): void;
  /** Reset by something between them: of what is under way, some of the first may arrive, in either direction. */
  reset(): void;
  /** A black hole: from now on nothing arrives, and nobody is told. */
  freeze(): void;
}

export function createWire(options: WireOptions): Wire {
  const { kernel, random, process, name } = options;
  const up = kernel.stream(undefined, `rabbitmq from ${name}`);
  const down = kernel.stream(process, `${name} from rabbitmq`);
  /** Nothing new is taken up by this direction. */
  let upEnded = false;
  let downEnded = false;
  const forgetKill = process.onKilled(() => hangUp(someOf(up)));

  /** How many of the messages under way arrive when something breaks. */
  function someOf(stream: typeof up): number {
    return random.int(stream.underWay + 1);
  }

  /** Tells the broker, once, that the client is gone; so many of the messages under way arrive before. */
  function hangUp(arriving: number): void {
    forgetKill();
    if (upEnded) return; // n.b. what is under way may be the news that the client is gone
    upEnded = true;
    up.cut(arriving);
    up.send(options.onServerLost);
  }

  /** Likewise. */
  function tellClient(error: Error, arriving: number): void {
    if (downEnded) return;
    downEnded = true;
    down.cut(arriving);
    down.send(() => options.onClientLost(error));
  }

  /** The broker's end is closed: it hears nothing more. */
  function deafen(): void {
    forgetKill();
    up.cut();
    upEnded = true;
  }

  return {
    process,
    get underWay() {
      return up.underWay + down.underWay;
    },
    toServer(action) {
      if (!upEnded) up.send(action);
    },
    toClient(action) {
      if (!downEnded) down.send(action);
    },
    closeByClient() {
      downEnded = true;
      down.cut();
      hangUp(up.underWay);
    },
    closeByServer() {
      deafen();
      tellClient(new Error('Unexpected close'), down.underWay);
    },
    crashOfServer() {
      deafen();
      tellClient(connectionReset(), someOf(down));
    },
    reset() {
      hangUp(someOf(up));
      tellClient(connectionReset(), someOf(down));
    },
    freeze() {
      deafen();
      down.cut();
      downEnded = true;
    },
  };
}

function connectionReset(): Error {
  return Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', syscall: 'read' });
}
