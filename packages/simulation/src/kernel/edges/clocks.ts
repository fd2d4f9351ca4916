import { realDate, realNowMs } from './real.js';
import { kernelNow, processNow } from './host.js';

/** `Date` and `performance.now` tell the time of the process that asks. */
export function installClocks(): void {
  const readDate = realDate.now.bind(realDate);

  function dateNow(): number {
    const kernel = kernelNow('Date.now');
    return kernel ? kernel.nowMs + (kernel.current?.clockOffsetMs ?? 0) : readDate();
  }

  function monotonicNow(): number {
    const kernel = kernelNow('performance.now');
    return kernel ? kernel.elapsedMs - (processNow(kernel)?.startedUs ?? 0) / 1000 : realNowMs();
  }

  globalThis.Date = new Proxy(realDate, {
    construct: (target, args: unknown[], newTarget) =>
      Reflect.construct(target, args.length === 0 ? [dateNow()] : args, newTarget) as Date,
    apply: (target) => new target(dateNow()).toString(),
  });
  globalThis.Date.now = dateNow;
  globalThis.performance.now = monotonicNow;

  const hrtime = (origin?: [number, number]): [number, number] => {
    const nowMs = monotonicNow() - (origin ? origin[0] * 1e3 + origin[1] / 1e6 : 0);
    return [Math.floor(nowMs / 1e3), Math.round((nowMs % 1e3) * 1e6)];
  };
  process.hrtime = Object.assign(hrtime, { bigint: () => BigInt(Math.round(monotonicNow() * 1e6)) });
}
