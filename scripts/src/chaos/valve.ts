import { setTimeout as sleep } from 'node:timers/promises';

/** What bytes of one direction have to pass. */
export interface Valve {
  /** How long each passage takes; 0 is at once. Milliseconds. */
  delayMs: number;
  hold(): void;
  release(): void;
  /** Resolves when it is open and the delay is over. */
  pass(): Promise<void>;
}

export function createValve(): Valve {
  let opened: PromiseWithResolvers<void> | undefined;
  const valve: Valve = {
    delayMs: 0,
    hold: () => void (opened ??= withResolvers()),
    release() {
      opened?.resolve();
      opened = undefined;
    },
    async pass() {
      if (valve.delayMs > 0) await sleep(valve.delayMs);
      while (opened) await opened.promise;
    },
  };
  return valve;
}

/** n.b. Promise.withResolvers came with Node 22. */
function withResolvers(): PromiseWithResolvers<void> {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  resolve(): void;
}
