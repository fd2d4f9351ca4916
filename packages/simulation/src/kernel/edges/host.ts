import type { Kernel } from '../types.js';
import type { KernelProcess } from '../sim-process.js';

/** The kernel whose time the replaced functions tell; undefined between simulations, when they are as they were. */
let attached: Kernel | undefined;

/** Lets a kernel take over time and chance, until `detach`. */
export function attach(kernel: Kernel): void {
  if (attached !== undefined) throw new Error('Another simulation is attached.');
  attached = kernel;
}

export function detach(): void {
  attached = undefined;
}

/** The kernel for code that runs now; undefined outside a simulation. What runs between events has escaped: it fails. */
export function kernelNow(what: string): Kernel | undefined {
  if (attached !== undefined && attached.isRunning && !attached.inEvent) {
    const error = new Error(`${what} was called outside any event: something waits for real time, or for real I/O.`);
    attached.fail(error);
    throw error;
  }
  return attached;
}

/** The process that runs now. */
export function processNow(kernel: Kernel): KernelProcess | undefined {
  return kernel.current as KernelProcess | undefined;
}

/** Ends the run because of a rejection that nobody handled, unless it is a dead process'. False outside a simulation. */
export function takeRejection(error: unknown): boolean {
  if (attached === undefined) return false;
  if (processNow(attached)?.alive !== false) attached.fail(error);
  return true;
}
