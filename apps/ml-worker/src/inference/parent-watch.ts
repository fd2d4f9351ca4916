import { Worker } from 'node:worker_threads';

const LOOK_EVERY_MS = 500;

/**
 * Ends this process when its parent is gone, even while a run that never ends blocks it: only a thread of its own can notice then.
 * The thread keeps nothing alive.
 */
export function endWithParent(): void {
  const { pid, ppid } = process;
  const look = `setInterval(() => process.ppid === ${ppid} || process.kill(${pid}, 'SIGKILL'), ${LOOK_EVERY_MS})`;
  new Worker(look, { eval: true }).unref();
}
