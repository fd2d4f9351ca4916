import { createEventQueue, type Event } from './event-queue.js';
import { realSetImmediate } from './edges/real.js';
import type { KernelProcess } from './sim-process.js';
import type { RecordedTrace } from './trace.js';
import type { Owner, RunEnd, RunLimits, Scheduled } from './types.js';

/** Events between two turns of Node's event loop. Only what has leaked out of the simulation could happen there. */
const EVENTS_A_TURN = 64;

export interface SchedulerOptions {
  readonly trace: RecordedTrace;
  /** Asked before an event of a living process; true when the process dies instead. */
  readonly crashes: (owner: KernelProcess, label: string) => boolean;
}

interface Run {
  readonly limits: { readonly until: () => boolean; readonly endUs: number; readonly maxEvents: number };
  readonly end: (end: RunEnd) => void;
}

/** What is to happen, and what is happening. */
export interface Scheduler {
  readonly nowUs: number;
  readonly current: Owner;
  /** False between events: whatever runs then has escaped. */
  readonly inEvent: boolean;
  readonly isRunning: boolean;
  /** Queues an event; `isTimer` for what a process waits for by the clock. */
  at(timeUs: number, owner: Owner, label: string, action: () => void, isTimer?: boolean): Scheduled;
  /** Runs `action` now, in the context of the world. */
  inWorld(action: () => void): void;
  fail(error: unknown): void;
  run(limits: RunLimits): Promise<RunEnd>;
}

/**
 * Runs events one by one. Each is a callback of `setImmediate`, between which Node empties the queues of `nextTick` and
 * of microtasks: all that an event causes at once has happened before the next begins, and belongs to the same process.
 */
export function createScheduler({ trace, crashes }: SchedulerOptions): Scheduler {
  const queue = createEventQueue();
  let sequence = 0;
  let nowUs = 0;
  let current: Owner;
  let inEvent = false;
  let failure: { readonly error: unknown } | undefined;
  let running: Run | undefined;

  function fail(error: unknown): void {
    failure ??= { error };
  }

  function happen(event: Event, action: () => void): void {
    nowUs = event.timeUs;
    current = event.owner;
    inEvent = true;
    trace.record(nowUs, current, event.label);
    try {
      action();
    } catch (error) {
      fail(error);
    }
  }

  /**
   * True when its process is stopped then: the event waits. After SIGCONT a process looks at its timers first, then at its
   * sockets; both in order.
   */
  function postpone(event: Event, owner: KernelProcess): boolean {
    const fromUs = owner.pausedUntilUs + (event.isTimer ? 0 : 1);
    if (fromUs <= event.timeUs) return false;
    event.timeUs = fromUs;
    queue.push(event);
    return true;
  }

  /** The next event that happens; undefined when none does before `limitUs`. */
  function next(limitUs: number): RunEnd | undefined {
    for (;;) {
      const event = queue.peek();
      if (event === undefined) return 'empty';
      if (event.timeUs > limitUs) return 'time';
      queue.pop();
      const action = event.action;
      const owner = event.owner as KernelProcess | undefined;
      if (action === undefined || owner?.alive === false) continue;
      if (owner !== undefined && postpone(event, owner)) continue;
      nowUs = event.timeUs;
      event.action = undefined; // it has happened: cancelling is too late, and nothing is kept
      if (owner !== undefined && crashes(owner, event.label)) continue;
      happen(event, action);
      return undefined;
    }
  }

  /** Why the run ends now; undefined: one more event has happened. */
  function step({ limits }: Run): RunEnd | undefined {
    current = undefined;
    inEvent = true;
    if (failure || limits.until()) return 'until';
    if (trace.events >= limits.maxEvents) return 'events';
    return next(limits.endUs);
  }

  function turn(run: Run): void {
    const once = (): void => {
      if (running !== run) return;
      const reason = step(run);
      if (reason === undefined) return;
      running = undefined;
      inEvent = false;
      run.end(reason);
    };
    const again = (): void => {
      if (running !== run) return;
      inEvent = false;
      turn(run);
    };
    for (let count = 0; count < EVENTS_A_TURN; count += 1) realSetImmediate(once);
    realSetImmediate(again);
  }

  return {
    get nowUs() {
      return nowUs;
    },
    get current() {
      return current;
    },
    get inEvent() {
      return inEvent;
    },
    get isRunning() {
      return running !== undefined;
    },
    at(timeUs, owner, label, action, isTimer = false) {
      if (running !== undefined && !inEvent) {
        const error = new Error(
          `"${label}" was begun outside any event, by code that waits for real time or real I/O.`,
        );
        fail(error);
        throw error;
      }
      sequence += 1;
      const dueUs = Math.max(timeUs, nowUs);
      const event: Event = { timeUs: dueUs, dueUs, sequence, owner, label, action, isTimer };
      queue.push(event);
      return { cancel: () => void (event.action = undefined) };
    },
    inWorld(action) {
      const [owner, wasInEvent] = [current, inEvent];
      current = undefined;
      inEvent = true;
      try {
        action();
      } finally {
        current = owner;
        inEvent = wasInEvent;
      }
    },
    fail,
    async run({ until = () => false, maxMs = Infinity, maxEvents = Infinity }) {
      if (running !== undefined) throw new Error('The simulation is running already.');
      const limits = { until, endUs: nowUs + maxMs * 1000, maxEvents: trace.events + maxEvents };
      const end = await new Promise<RunEnd>((resolve) => {
        running = { limits, end: resolve };
        turn(running);
      });
      if (failure) throw failure.error;
      return end;
    },
  };
}
