import { JOB_CLASSES, type JobClass } from '@sluice/contracts';
import type { JobQueue } from './job-queue.js';

/** Whose turn it is in a worker. */
export interface Turns {
  /** The class whose job is due first; undefined when none waits. */
  next(queues: readonly JobQueue[]): number | undefined;
  /** Tells that the worker was given work of a class for so many seconds. */
  served(classIndex: number, now: number, seconds: number): void;
}

/** How long after a worker took a job it is due, in seconds: the worker's scheduler has the same. */
const DUE_AFTER: Readonly<Record<JobClass, number>> = { interactive: 0, standard: 0.25, batch: 2 };
/** A worker holds as many jobs of a class as it gets done in this time, in seconds. */
const HELD = 0.2;

/**
 * Jobs are due some time after a worker took them, by class. It takes a class's jobs in groups of what it gets done in a fifth of a
 * second, so a class that waits behind others has its turn now and then, however much of the others there is.
 */
export function createTurns(): Turns {
  const allowance = JOB_CLASSES.map((name) => DUE_AFTER[name]);
  const takenAt = JOB_CLASSES.map(() => 0);
  const left = JOB_CLASSES.map(() => HELD);
  return {
    next(queues) {
      let first: number | undefined;
      let least = Infinity;
      for (let at = 0; at < queues.length; at++) {
        const due = Math.max(queues[at]?.firstAt ?? Infinity, takenAt[at] ?? 0) + (allowance[at] ?? 0);
        if (due < least) [first, least] = [at, due];
      }
      return first;
    },
    served(classIndex, now, seconds) {
      const rest = (left[classIndex] ?? 0) - seconds;
      left[classIndex] = rest > 0 ? rest : HELD;
      if (rest <= 0) takenAt[classIndex] = now;
    },
  };
}
