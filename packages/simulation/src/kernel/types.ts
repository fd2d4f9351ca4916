/** Numbers that follow from a seed alone. */
export interface Random {
  /** 0 … 1, exclusive. */
  next(): number;
  /** An integer 0 … `below` − 1. */
  int(below: number): number;
  /** `lo` … `hi`, exclusive. */
  between(lo: number, hi: number): number;
  /** One of `items`; throws RangeError when there are none. */
  pick<T>(items: readonly T[]): T;
  /** True with this probability. */
  chance(probability: number): boolean;
  /** Numbers of its own, which depend on the seed and the label but not on how many were drawn here. */
  fork(label: string): Random;
}

/** One start of a program. What runs in it, its timers and the answers it waits for die with it. */
export interface SimProcess {
  readonly name: string;
  /** Counts the starts under this name, from 1. */
  readonly epoch: number;
  readonly alive: boolean;
  /** Whether it is stopped by `pause`. */
  readonly paused: boolean;
  /** Milliseconds that `Date.now()` in this process is ahead of the true time; may be negative. */
  clockOffsetMs: number;
  /** Ends it as `kill -9` does: nothing of it runs any more. What it has sent is still under way. */
  kill(): void;
  /** Stops it as SIGSTOP does, until `forMs` have passed: what happens to it waits. Its clocks go on. */
  pause(forMs: number): void;
  /** Calls `listener` once, in the context of the world, when it is killed. Returns how to forget the listener. */
  onKilled(listener: () => void): () => void;
}

export interface ProcessOptions {
  /** Whether it has crash points; true when absent. Clients have none, because nobody starts them again. */
  readonly killable?: boolean;
}

/** Where an event happens: in a process, or in the world (servers, network, faults, oracle), which never dies. */
export type Owner = SimProcess | undefined;

/** How long messages take. Most take about `typicalMs`, some up to `longMs`. */
export interface Latency {
  readonly typicalMs: number;
  readonly longMs: number;
  /** Part of the messages that take long, 0 … 1. */
  readonly longChance: number;
}

export interface ServerOptions {
  readonly latency?: Latency;
  /**
   * Whether a process' requests arrive, and its answers come back, in the order in which they were sent: one connection
   * to Redis does, a pool of connections to PostgreSQL does not. False when absent.
   */
  readonly ordered?: boolean;
}

/** What goes wrong with a request that has reached a server. */
export interface CallFault {
  /** Whether the server does what it was asked for. */
  readonly effect: boolean;
  /** What the caller is told; when absent, it never hears. */
  readonly error?: Error;
  /** How much later than an answer, in milliseconds. */
  readonly delayMs?: number;
}

/** A request as faults see it. */
export interface CallView {
  readonly from: Owner;
  readonly server: string;
  readonly label: string;
}

/** An ordered one-way stream of messages: one direction of a TCP connection. */
export interface Stream {
  /** Runs `action` at the receiver, after everything sent before. A receiver that died receives nothing. */
  send(action: () => void): void;
  /** How many messages are under way. */
  readonly underWay: number;
  /** Drops what is under way, but for the first `keep` messages (0 when absent). Sending goes on. */
  cut(keep?: number): void;
}

export interface Scheduled {
  cancel(): void;
}

/** One event that happened. */
export interface TraceEntry {
  readonly index: number;
  /** Since the start of the run, in microseconds of virtual time. */
  readonly timeUs: number;
  /** `name#epoch` of the process; `world` for none. */
  readonly owner: string;
  readonly label: string;
}

export interface Trace {
  /** A digest of time, owner and label of every event so far, 16 hexadecimal digits. */
  readonly hash: string;
  /** Events so far. */
  readonly events: number;
  /** The last events, oldest first. */
  last(): TraceEntry[];
  /** Mixes something into the digest that must be the same in a replay: the outcome of a step, a state. */
  note(text: string): void;
}

/** Moments at which a process may die: before each event in it and before each message it sends. */
export interface CrashPoints {
  /** How many have passed. */
  readonly passed: number;
  /** Kills whatever process comes to these points, counted from 1. */
  at(...points: number[]): void;
  /** From now on there are none. */
  close(): void;
}

export interface RunLimits {
  /** Ends the run; asked after every event. */
  readonly until?: () => boolean;
  /** At most this much virtual time from now, in milliseconds. */
  readonly maxMs?: number;
  /** At most this many events from now. */
  readonly maxEvents?: number;
}

/** Why a run ended; `empty`: nothing is left that could happen. */
export type RunEnd = 'until' | 'time' | 'events' | 'empty';

export interface KernelOptions {
  /** An integer. */
  readonly seed: number;
  /** The true time at the start, Unix milliseconds. */
  readonly startMs: number;
  /** For requests and streams whose server has none of its own. */
  readonly latency?: Latency;
  /** Crash points at which to kill, counted from 1. */
  readonly crashAt?: readonly number[];
  /** Told of every event before it happens. */
  readonly onEvent?: (entry: TraceEntry) => void;
  /** How many events `trace.last` remembers; 60 when absent. */
  readonly remembered?: number;
}

/** One seeded scheduler on virtual time, and the network between what it runs. */
export interface Kernel {
  readonly random: Random;
  /** The true time, Unix milliseconds, whole. */
  readonly nowMs: number;
  /** Virtual time since the start, in milliseconds with fractions. */
  readonly elapsedMs: number;
  /** Whose event is happening; undefined for the world's. */
  readonly current: Owner;
  /** False between events of a run: whatever runs then has escaped from the simulation. */
  readonly inEvent: boolean;
  readonly isRunning: boolean;
  readonly trace: Trace;
  readonly crashPoints: CrashPoints;
  /** A new process, started now. */
  process(name: string, options?: ProcessOptions): SimProcess;
  /** Calls `listener` in the context of the world after a crash point has killed a process. */
  onCrash(listener: (process: SimProcess, label: string) => void): void;
  /**
   * Runs `action` as an event of `owner` after `delayMs`, at least 0. An event with all microtasks that it causes ends
   * before the next begins. A throw ends the run. `isTimer`: the process waits for it by its clock, so that after a
   * pause it comes before what has arrived from outside.
   */
  schedule(delayMs: number, owner: Owner, label: string, action: () => void, isTimer?: boolean): Scheduled;
  /** Runs `action` as the next event of `owner`: the way into a process. */
  enter(owner: Owner, label: string, action: () => void): void;
  /** Messages from whoever sends to `to`. */
  stream(to: Owner, label: string, latency?: Latency): Stream;
  /** Says how a server is reached; without it, servers answer in any order. */
  server(name: string, options: ServerOptions): void;
  /** Decides about faults, for every request at the moment it reaches its server. */
  onCall(decide: (call: CallView) => CallFault | undefined): void;
  /**
   * Asks a server of the world: `perform` runs there, as an event, and what it returns or throws comes back as an event
   * of `from`. When `from` dies in between, the effect stays and the answer is lost. `from` must be the current process.
   */
  call<T>(from: Owner, server: string, label: string, perform: () => T): Promise<T>;
  /** Several round trips: `steps` is resumed at the server with its true time, once each, and yields between them. */
  callSteps<T>(from: Owner, server: string, label: string, steps: Generator<void, T, number>): Promise<T>;
  /**
   * Asks another process, as over HTTP: `perform` runs in `to`. Rejects with ConnectionLost when `to` is dead or dies
   * before it has answered. `from` must be the current process.
   */
  ask<T>(from: Owner, to: SimProcess, label: string, perform: () => T | Promise<T>): Promise<T>;
  /** Ends the run with this error. The first one counts. */
  fail(error: unknown): void;
  /** Lets virtual time run. Rejects with what an event threw, a rejection nobody handled, or what `fail` was given. */
  run(limits?: RunLimits): Promise<RunEnd>;
}
