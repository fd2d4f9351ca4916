import { kernelNow } from './host.js';

/** Signals that abort with a signal, which listens once for all of them. */
const followers = new WeakMap<AbortSignal, AbortController[]>();

function follow(source: AbortSignal, follower: AbortController): void {
  const known = followers.get(source);
  if (known) return void known.push(follower);
  const all = [follower];
  followers.set(source, all);
  source.addEventListener('abort', () => all.forEach((one) => one.abort(source.reason)), { once: true });
}

/**
 * Like Node's, but for what it does about garbage: Node keeps a signal that somebody listens to in a list of the whole
 * operating-system process until it aborts, which after a simulated `kill -9` never happens, and the list would keep
 * everything that ever ran.
 */
function anyOf(signals: Iterable<AbortSignal>): AbortSignal {
  const sources = [...signals];
  const aborted = sources.find((source) => source.aborted);
  if (aborted) return AbortSignal.abort(aborted.reason);
  const controller = new AbortController();
  for (const source of sources) follow(source, controller);
  return controller.signal;
}

/** `AbortSignal.timeout` goes by virtual time; `AbortSignal.any` keeps nothing beyond the simulation. */
export function installSignals(): void {
  const realTimeout = AbortSignal.timeout.bind(AbortSignal);
  const realAny = AbortSignal.any.bind(AbortSignal);

  AbortSignal.timeout = (delayMs) => {
    if (!kernelNow('AbortSignal.timeout')) return realTimeout(delayMs);
    const controller = new AbortController();
    const reason = new DOMException('The operation was aborted due to timeout', 'TimeoutError');
    setTimeout(() => controller.abort(reason), delayMs).unref();
    return controller.signal;
  };
  AbortSignal.any = (signals: Iterable<AbortSignal>) =>
    kernelNow('AbortSignal.any') ? anyOf(signals) : realAny([...signals]);
}
