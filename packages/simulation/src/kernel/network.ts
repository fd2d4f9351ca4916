import { createAsking } from './asking.js';
import { createCalls } from './calls.js';
import type { Scheduler } from './scheduler.js';
import { createStreams } from './streams.js';
import type { Kernel, Owner } from './types.js';
import type { Wires } from './wires.js';

export interface NetworkOptions {
  readonly scheduler: Scheduler;
  readonly wires: Wires;
  /** The true time, Unix milliseconds. */
  readonly nowMs: () => number;
  /** Asked before the current process sends anything; true when nothing is sent, because it is dead or dies of it. */
  readonly mute: (label: string) => boolean;
  /** Fails the run when somebody else than the current process is named as the sender. */
  readonly checkSender: (from: Owner, label: string) => void;
}

export type Network = Pick<Kernel, 'stream' | 'server' | 'onCall' | 'call' | 'callSteps' | 'ask'>;

/** Messages between processes and servers, each an event where it arrives. */
export function createNetwork(options: NetworkOptions): Network {
  return {
    server: (name, serverOptions) => options.wires.server(name, serverOptions),
    ...createCalls(options),
    ...createStreams(options),
    ...createAsking(options),
  };
}
