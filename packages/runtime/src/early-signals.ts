const HANDLERS: Readonly<Partial<Record<NodeJS.Signals, () => void>>> = {
  SIGTERM: () => process.exit(0),
  SIGINT: () => process.exit(0),
  SIGHUP: () => undefined,
};

/**
 * Says what signals do until `runApp` takes them over; the first thing that a program does.
 *
 * SIGTERM and SIGINT end it at once with 0: nothing has begun. SIGHUP, by which files are read again, does nothing: they
 * are about to be read. n.b. Linux ignores signals to the first process of a container that has no handler for them, so a pod that
 * is told to end while it loads would start, take work, and be killed at the end of its grace; elsewhere SIGHUP would kill it.
 */
export function handleEarlySignals(): void {
  for (const [signal, handler] of Object.entries(HANDLERS)) process.on(signal, handler);
}

/** Leaves the signals to whoever handles them from now on. */
export function endEarlySignals(): void {
  for (const [signal, handler] of Object.entries(HANDLERS)) process.off(signal, handler);
}
