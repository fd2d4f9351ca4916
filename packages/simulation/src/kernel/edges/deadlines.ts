import { kernelNow } from './host.js';

/** `AbortSignal.timeout` goes by virtual time. */
export function installDeadlines(): void {
  const real = AbortSignal.timeout.bind(AbortSignal);
  AbortSignal.timeout = (delayMs) => {
    if (!kernelNow('AbortSignal.timeout')) return real(delayMs);
    const controller = new AbortController();
    const reason = new DOMException('The operation was aborted due to timeout', 'TimeoutError');
    setTimeout(() => controller.abort(reason), delayMs).unref();
    return controller.signal;
  };
}
