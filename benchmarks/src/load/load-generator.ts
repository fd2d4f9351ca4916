import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { LoadPlan, LoadResult } from './load-plan.js';

const ENTRY = fileURLToPath(new URL('./load-process.js', import.meta.url));

/** Runs a plan in a process of its own, which is ended when the plan's time limit is over. */
export function runLoad(plan: LoadPlan): Promise<LoadResult> {
  const child = fork(ENTRY, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`${plan.requests} requests took longer than ${plan.timeLimitMs} ms`));
      child.kill('SIGKILL');
    }, plan.timeLimitMs);
    child.once('message', (result) => resolve(result as LoadResult));
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      reject(new Error(`the load generator ended without a result (${signal ?? code})`));
    });
    child.send(plan);
  });
}
