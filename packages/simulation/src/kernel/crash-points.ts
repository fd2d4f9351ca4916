import type { CrashPoints } from './types.js';

/** The crash points of one run; `pass` is for the kernel. */
export interface CountedCrashPoints extends CrashPoints {
  /** Counts a point; true when the process that has come to it is to die. */
  pass(): boolean;
}

export function createCrashPoints(planned: readonly number[]): CountedCrashPoints {
  const deadly = new Set(planned);
  let passed = 0;
  let open = true;

  return {
    get passed() {
      return passed;
    },
    at(...points) {
      for (const point of points) deadly.add(point);
    },
    close() {
      open = false;
    },
    pass() {
      if (!open) return false;
      passed += 1;
      return deadly.delete(passed);
    },
  };
}
