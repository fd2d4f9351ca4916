import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { LoadPlan, LoadResult } from './load-plan.js';

const ENTRY = fileURLToPath(new URL('./load-process.js', import.meta.url));

/** Runs a plan in a process of its own, which is ended when the plan's time limit is over or `signal` is aborted. */
export function runLoad(plan: LoadPlan, signal: AbortSignal): Promise<LoadResult> {
  const child = fork(ENTRY, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  return new Promise((resolve, reject) => {
    const giveUp = (reason: Error): void => {
      reject(reason);
      child.kill('SIGKILL');
    };
    const onAbort = (): void => giveUp(signal.reason as Error);
    const timer = setTimeout(
      () => giveUp(new Error(`${plan.requests} requests took longer than ${plan.timeLimitMs} ms`)),
      plan.timeLimitMs,
    );
    signal.addEventListener('abort', onAbort);
    child.once('message', (result) => resolve(result as LoadResult));
    child.once('exit', (code, killedBy) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      reject(new Error(`the load generator ended without a result (${killedBy ?? code})`));
    });
    child.send(plan);
  });
}
