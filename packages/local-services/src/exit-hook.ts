/** Ends something at once and synchronously; must not throw. */
type EndNow = () => void;

const pending = new Set<EndNow>();
let installed = false;

/**
 * Runs `endNow` when this process exits, or is ended by SIGINT or SIGTERM that nobody else handles, before the returned function was
 * called. SIGKILL cannot be seen coming; what it leaves behind is cleaned up by the next start.
 */
export function endOnExit(endNow: EndNow): () => void {
  if (!installed) install();
  pending.add(endNow);
  return () => pending.delete(endNow);
}

function install(): void {
  installed = true;
  process.on('exit', endAll);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, endUnlessHandled);
}

/** n.b. a listener switches off the signal's default, so without another listener that default is done here. */
function endUnlessHandled(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return;
  endAll();
  process.off(signal, endUnlessHandled);
  process.kill(process.pid, signal);
}

function endAll(): void {
  for (const endNow of pending) endNow();
  pending.clear();
}
