import { ServiceError } from '@sluice/contracts';
import type { InferenceHost, RunBounds, RunResult } from '@sluice/ml-worker/composition';
import type { Random } from '../../kernel/index.js';
import { POISON } from './models.js';

const PROCESSES = 2;
const WARM_UP_MS = 15;
/** As the host of the worker pauses before it replaces a process that was lost. */
const REPLACE_AFTER_MS = 100;
const RUN_MS = { from: 1, to: 60 } as const;
const LONG_RUN_MS = { from: 100, to: 4_000 } as const;
const TIMEOUT_MS = 3_000;
const POISON_BYTE = POISON.charCodeAt(0);

export interface SimInferenceOptions {
  readonly random: Random;
  /** Parts of the runs that go wrong so, 0 … 1. */
  readonly failChance: number;
  readonly crashChance: number;
  readonly longChance: number;
  /** Hears of every text that ran to its end, in tokens. */
  readonly onRan: (text: string) => void;
}

export interface SimInference extends InferenceHost {
  /** Ends one process, as the kernel does when memory is short. */
  loseOne(): void;
}

/** One inference process. */
interface Child {
  state: 'warming' | 'idle' | 'busy';
  /** Ends the run under way. */
  lose: (error: Error) => void;
}

/**
 * Stands in for the worker's inference processes: batches take virtual time, sometimes fail, and sometimes the process is
 * lost; every row is one number. Its timers are those of the worker's process, so it dies with it.
 */
export function createSimInference(options: SimInferenceOptions): SimInference {
  const { random, failChance, crashChance, longChance, onRan } = options;
  const children = new Set<Child>();
  let idleListener: () => void = () => undefined;
  let stopped = false;

  async function startChild(): Promise<void> {
    const child: Child = { state: 'warming', lose: () => undefined };
    children.add(child);
    await wait(random.between(1, WARM_UP_MS));
    child.state = 'idle';
    idleListener();
  }

  function lose(child: Child, error: Error): void {
    children.delete(child);
    child.lose(error);
    if (!stopped) void wait(REPLACE_AFTER_MS).then(startChild);
  }

  function count(...states: readonly Child['state'][]): number {
    return [...children].filter(({ state }) => states.includes(state)).length;
  }

  /** What the run comes to: its time, and the error that ends it; undefined: its rows. */
  function fate(
    sequences: readonly Int32Array[],
    limitMs: number,
  ): { readonly ms: number; readonly error?: ServiceError } {
    const ms = random.chance(longChance)
      ? random.between(LONG_RUN_MS.from, LONG_RUN_MS.to)
      : random.between(RUN_MS.from, RUN_MS.to);
    if (ms > limitMs) return { ms: limitMs, error: new ServiceError('inference_timeout', 'It took too long.') };
    const isPoisoned = sequences.some(([first]) => first === POISON_BYTE);
    if (isPoisoned || random.chance(crashChance)) {
      return { ms, error: new ServiceError('inference_crashed', 'The process ended.') };
    }
    return random.chance(failChance) ? { ms, error: new ServiceError('inference_failed', 'It failed.') } : { ms };
  }

  function run(child: Child, sequences: readonly Int32Array[], bounds: RunBounds): Promise<RunResult> {
    const { stop, limitMs = TIMEOUT_MS } = bounds;
    const { ms, error } = fate(sequences, limitMs);
    return new Promise((resolve, reject) => {
      const abort = (): void => lose(child, stop?.reason as Error);
      const end = (): void => {
        clearTimeout(timer);
        stop?.removeEventListener('abort', abort);
        child.lose = () => undefined;
      };
      const timer = setTimeout(() => {
        if (error && error.code !== 'inference_failed') return lose(child, error);
        end();
        child.state = 'idle';
        if (error) return reject(error);
        for (const ids of sequences) onRan(String.fromCharCode(...ids));
        resolve({ rows: new Float32Array(sequences.length).fill(0.5), computeMs: ms, cpuMs: ms });
      }, ms);
      child.lose = (reason) => {
        end();
        reject(reason);
      };
      stop?.addEventListener('abort', abort, { once: true });
    });
  }

  return {
    get idle() {
      return count('idle');
    },
    get warm() {
      return count('idle', 'busy');
    },
    loadMs: WARM_UP_MS,
    pids: [],
    memory: { processes: new Map(), models: new Map() },
    leftOut: new Map(),
    unavailable: new Map(),
    canRun: () => count('idle') > 0,
    onIdle: (listener) => void (idleListener = listener),
    async start() {
      await Promise.race(Array.from({ length: PROCESSES }, startChild));
    },
    async stop() {
      stopped = true;
      for (const child of [...children]) lose(child, new ServiceError('inference_crashed', 'The process was ended.'));
    },
    async run(_model, sequences, bounds = {}) {
      const child = [...children].find(({ state }) => state === 'idle');
      if (!child) throw new ServiceError('model_unavailable', 'No inference process is idle.');
      child.state = 'busy';
      try {
        return await run(child, sequences, bounds);
      } finally {
        if (children.has(child)) idleListener();
      }
    },
    runTensors: () => Promise.reject(new ServiceError('model_unavailable', 'No model here takes tensors.')),
    // The simulated suite never changes its models.
    serve: async (_models, hooks) => hooks.onServing(),
    loseOne() {
      const [child] = children;
      if (child) lose(child, new ServiceError('inference_crashed', 'The process ended.'));
    },
  };
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}
