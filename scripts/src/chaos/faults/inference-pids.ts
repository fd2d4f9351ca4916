import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { AppProcess } from '../../app-process.js';
import { CannotInject } from '../fault.js';

const TIMEOUT_MS = 2_000;
const healthSchema = z.object({
  detail: z.object({ inferenceProcesses: z.object({ pids: z.array(z.number().int().positive()) }) }),
});

/**
 * Process ids of a worker's inference processes, as the worker tells them; only those that are its children now.
 *
 * @throws CannotInject when the worker does not answer or has none.
 */
export async function inferencePids(worker: AppProcess): Promise<readonly number[]> {
  const pids = await ask(worker).catch((error: unknown) => {
    throw new CannotInject(`${worker.name} does not tell its inference processes`, { cause: error });
  });
  const own = pids.filter((pid) => parentOf(pid) === worker.pid);
  if (own.length === 0) throw new CannotInject(`${worker.name} has no inference process now`);
  return own;
}

async function ask({ port }: AppProcess): Promise<readonly number[]> {
  const response = await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  return healthSchema.parse(await response.json()).detail.inferenceProcesses.pids;
}

/** proc(5): the parent is the second field behind the program's name. Undefined when it cannot be told. */
function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}
