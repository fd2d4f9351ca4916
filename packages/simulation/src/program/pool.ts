import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { SeedOutcome, SeedRequest } from './seed-outcome.js';
import type { SliceAnswer, SliceRequest } from './slice-messages.js';

/** So many that the way to a process and back does not count, so few that all processes end at about the same time. */
const SEEDS_A_SLICE = 20;
/**
 * A run leaves megabytes of garbage behind, nearly all of it at its end: the larger the space for what is new, the less of
 * it is copied. Threads that collect it would only wait for the other processes.
 */
const NODE_OPTIONS = ['--max-semi-space-size=64', '--single-threaded-gc', '--stack-trace-limit=3'];
/** A slice takes a second or so. One that takes this long waits for something that never happens in virtual time. */
const SLICE_TIMEOUT_MS = 120_000;

export interface PoolOptions {
  readonly processes: number;
  /** The module to be simulated, as a URL; the suite when absent. */
  readonly suite?: string | undefined;
  /** Told of every outcome as it comes; false: enough, nothing more is begun. */
  readonly onOutcome: (outcome: SeedOutcome, request: SeedRequest) => boolean;
}

export interface PoolUsage {
  readonly cpuMs: number;
  /** Of the largest process. */
  readonly peakMegabytes: number;
  readonly defects: readonly string[];
}

/**
 * Runs requests in several processes: processes and not threads, because what is replaced in them is replaced for good,
 * and each has a heap of its own. Rejects when a process dies or hangs, and names what it was running.
 */
export async function runAll(requests: Iterable<SeedRequest>, options: PoolOptions): Promise<PoolUsage> {
  const source = requests[Symbol.iterator]();
  let enough = false;
  let cpuMs = 0;
  let peakMegabytes = 0;
  let defects: readonly string[] = [];

  function nextSlice(): SeedRequest[] {
    const slice: SeedRequest[] = [];
    while (!enough && slice.length < SEEDS_A_SLICE) {
      const next = source.next();
      if (next.done) break;
      slice.push(next.value);
    }
    return slice;
  }

  function take(answer: SliceAnswer, slice: readonly SeedRequest[]): void {
    cpuMs += answer.cpuMs;
    peakMegabytes = Math.max(peakMegabytes, answer.peakMegabytes);
    defects = answer.defects;
    for (const [index, outcome] of answer.outcomes.entries()) {
      const request = slice[index];
      if (!enough && request && !options.onOutcome(outcome, request)) enough = true;
    }
  }

  async function runInOne(): Promise<void> {
    const program = fileURLToPath(new URL('slice.js', import.meta.url));
    const child = fork(program, options.suite ? [options.suite] : [], { execArgv: NODE_OPTIONS });
    try {
      take(await answerOf(child, [], undefined), []);
      for (let slice = nextSlice(); slice.length > 0; slice = nextSlice()) {
        take(await answerOf(child, slice, { requests: slice }), slice);
      }
    } catch (error) {
      enough = true; // for the other processes
      throw error;
    } finally {
      child.kill('SIGKILL');
    }
  }

  await Promise.all(Array.from({ length: options.processes }, runInOne));
  return { cpuMs, peakMegabytes, defects };
}

/** Sends a request, if there is one, and waits for the answer. */
function answerOf(
  child: ChildProcess,
  slice: readonly SeedRequest[],
  request: SliceRequest | undefined,
): Promise<SliceAnswer> {
  const seeds = slice.map(({ seed }) => seed);
  const what = seeds.length > 0 ? `running seeds ${seeds.join(', ')}` : 'loading the suite';
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null, signal: string | null): void => {
      end(() => reject(new Error(`A process ended (${signal ?? code}) while ${what}.`)));
    };
    const onMessage = (message: unknown): void => end(() => resolve(message as SliceAnswer));
    const timer = setTimeout(() => {
      end(() => reject(new Error(`No answer within ${SLICE_TIMEOUT_MS / 1000} s while ${what}.`)));
    }, SLICE_TIMEOUT_MS);
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      child.off('exit', onExit).off('message', onMessage);
      settle();
    };
    child.once('exit', onExit).once('message', onMessage);
    if (request) child.send(request);
  });
}
