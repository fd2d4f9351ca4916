import type { SimProcess } from './types.js';

/** What the kernel knows of a process beyond what others see. */
export interface KernelProcess extends SimProcess {
  readonly killable: boolean;
  /** When it was started, microseconds of virtual time: the origin of its `performance.now()`. */
  readonly startedUs: number;
  /** Until then it is stopped; events of it wait. */
  readonly pausedUntilUs: number;
}

export interface ProcessSetting {
  readonly name: string;
  readonly epoch: number;
  readonly killable: boolean;
  readonly nowUs: () => number;
  /** Runs what somebody else wants to know of a death, outside the process. */
  readonly inWorld: (action: () => void) => void;
}

export function createProcess({ name, epoch, killable, nowUs, inWorld }: ProcessSetting): KernelProcess {
  const listeners = new Set<() => void>();
  const startedUs = nowUs();
  let alive = true;
  let pausedUntilUs = -1;

  return {
    name,
    epoch,
    killable,
    startedUs,
    clockOffsetMs: 0,
    get alive() {
      return alive;
    },
    get paused() {
      return pausedUntilUs > nowUs();
    },
    get pausedUntilUs() {
      return pausedUntilUs;
    },
    kill() {
      if (!alive) return;
      alive = false;
      inWorld(() => {
        for (const listener of listeners) listener();
      });
      listeners.clear();
    },
    pause(forMs) {
      pausedUntilUs = Math.max(pausedUntilUs, nowUs() + Math.round(forMs * 1000));
    },
    onKilled(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
