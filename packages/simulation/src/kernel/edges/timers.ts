import timers from 'node:timers';
import timersPromises from 'node:timers/promises';
import type { Kernel, Owner, Scheduled } from '../types.js';
import { kernelNow } from './host.js';

type Callback = (...args: unknown[]) => void;

interface Setting {
  readonly kernel: Kernel;
  readonly label: string;
  readonly delayMs: number;
  readonly repeats: boolean;
  readonly callback: () => void;
}

/** What `setTimeout`, `setInterval` and `setImmediate` return: a timer of the process that set it. */
class SimTimer {
  private readonly owner: Owner;
  private scheduled: Scheduled | undefined;
  private referenced = true;

  constructor(private readonly setting: Setting) {
    this.owner = setting.kernel.current;
    this.arm();
  }

  private arm(): void {
    const { kernel, label, delayMs, repeats, callback } = this.setting;
    const goOff = (): void => {
      this.scheduled = undefined;
      if (repeats) this.arm();
      callback();
    };
    this.scheduled = kernel.schedule(delayMs, this.owner, label, goOff, true);
  }

  /** Sets it again, as if it had been set now. */
  refresh(): this {
    this.close();
    this.arm();
    return this;
  }

  close(): this {
    this.scheduled?.cancel();
    this.scheduled = undefined;
    return this;
  }

  ref(): this {
    this.referenced = true;
    return this;
  }

  unref(): this {
    this.referenced = false;
    return this;
  }

  hasRef(): boolean {
    return this.referenced;
  }
}

/** As Node does: at least one millisecond, whole ones, and one for what is out of range. */
function wholeDelay(delayMs: unknown): number {
  const asked = Number(delayMs ?? 1);
  return asked >= 1 && asked <= 0x7fffffff ? Math.trunc(asked) : 1;
}

const MAX_LABELS = 5_000;
const labels = { setTimeout: new Map<number, string>(), setInterval: new Map<number, string>() };

/** Put together once for each delay: the trace looks labels up. */
function labelOf(what: keyof typeof labels, delayMs: number): string {
  const known = labels[what].get(delayMs);
  if (known !== undefined) return known;
  const label = `${what} ${delayMs}`;
  if (labels[what].size < MAX_LABELS) labels[what].set(delayMs, label);
  return label;
}

function setter(what: 'setTimeout' | 'setInterval', real: Callback): Callback {
  return (callback: unknown, delayMs: unknown, ...args: unknown[]) => {
    const kernel = kernelNow(what);
    if (!kernel) return real(callback, delayMs, ...args);
    const call = (): void => (callback as Callback)(...args);
    const delay = wholeDelay(delayMs);
    return new SimTimer({
      kernel,
      label: labelOf(what, delay),
      delayMs: delay,
      repeats: what === 'setInterval',
      callback: call,
    });
  };
}

function immediateSetter(real: Callback): Callback {
  return (callback: unknown, ...args: unknown[]) => {
    const kernel = kernelNow('setImmediate');
    if (!kernel) return real(callback, ...args);
    const call = (): void => (callback as Callback)(...args);
    return new SimTimer({ kernel, label: 'setImmediate', delayMs: 0, repeats: false, callback: call });
  };
}

function clearer(real: Callback): Callback {
  return (timer: unknown) => (timer instanceof SimTimer ? void timer.close() : real(timer));
}

/** Of `node:timers/promises`, what waits: the rest is not used. */
function waitFor(delayMs?: number, value?: unknown, options?: { readonly signal?: AbortSignal }): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const signal = options?.signal;
    const abort = (): void => {
      clearTimeout(timer);
      reject(new DOMException('The operation was aborted', 'AbortError'));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve(value);
    }, delayMs);
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}

/** Timers are events of the process that set them. */
export function installTimers(): void {
  const simulated = {
    setTimeout: setter('setTimeout', globalThis.setTimeout as Callback),
    setInterval: setter('setInterval', globalThis.setInterval as Callback),
    setImmediate: immediateSetter(globalThis.setImmediate as Callback),
    clearTimeout: clearer(globalThis.clearTimeout as Callback),
    clearInterval: clearer(globalThis.clearInterval as Callback),
    clearImmediate: clearer(globalThis.clearImmediate as Callback),
  };
  Object.assign(globalThis, simulated);
  Object.assign(timers, simulated);
  Object.assign(timersPromises, { setTimeout: waitFor });
}
