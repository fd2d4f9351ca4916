import { ServiceError } from '@sluice/contracts';
import { delay, type Service } from '@sluice/runtime';
import { startInferenceChild, type InferenceChild, type InferenceChildOptions } from './inference-child.js';
import type { RunResult } from './inference-protocol.js';

/** Pause before a lost process is replaced: none after the first loss, then doubled while nothing succeeds. */
const RESTART_DELAY_MS = { first: 100, longest: 10_000 } as const;

export interface InferenceHostOptions extends InferenceChildOptions {
  /** How many processes; each runs one batch at a time on one core. */
  readonly processes: number;
}

/**
 * Keeps a fixed number of inference processes alive and lends them out.
 *
 * `start` resolves when the first process is warm, and rejects with `model_unavailable` when a process ends before
 * that. `stop` ends idle processes gently; one that is still running is killed.
 */
export interface InferenceHost extends Service {
  /** Processes that could take a run now. */
  readonly idle: number;
  /** Processes that are idle or busy. */
  readonly warm: number;
  /** Ids of the living processes. */
  readonly pids: readonly number[];
  /** Whether a process that is idle now has this model loaded. */
  canRun(model: string): boolean;
  /** Called whenever a process becomes idle. */
  onIdle(listener: () => void): void;
  /** See `InferenceChild.run`; only while `canRun` says so. */
  run(model: string, sequences: readonly Int32Array[], stop?: AbortSignal): Promise<RunResult>;
}

export function createInferenceHost(options: InferenceHostOptions): InferenceHost {
  const { logger } = options;
  const children = new Set<InferenceChild>();
  const loaded = new Set(options.models.map(({ key }) => key));
  const stopping = new AbortController();
  const keepers: Promise<void>[] = [];
  let idleListener: () => void = () => undefined;
  let lossesInARow = 0;

  function startChild(): InferenceChild {
    const child = startInferenceChild(options);
    children.add(child);
    void child.gone.then(() => children.delete(child));
    return child;
  }

  /** Replaces a process whenever it is lost, until the host stops. */
  async function keepAlive(first: InferenceChild): Promise<void> {
    for (let child = first; ; child = startChild()) {
      await becomeIdle(child);
      await child.gone;
      if (stopping.signal.aborted) return;
      // Not lost but given up: no sign of trouble, and not to be waited for.
      if (child.stopped) continue;
      const delayMs = restartDelayMs(lossesInARow);
      lossesInARow += 1;
      logger.warn({ child: child.pid, delayMs }, 'an inference process was lost and will be replaced');
      await delay(delayMs, stopping.signal);
      if (stopping.signal.aborted) return;
    }
  }

  async function becomeIdle(child: InferenceChild): Promise<void> {
    try {
      await child.warm;
      logger.info({ child: child.pid, warm: count('idle', 'busy') }, 'an inference process is warm');
      idleListener();
    } catch (error) {
      if (!stopping.signal.aborted) logger.error({ err: error }, 'an inference process could not load its models');
    }
  }

  function count(...states: readonly InferenceChild['state'][]): number {
    return [...children].filter((child) => states.includes(child.state)).length;
  }

  return {
    get idle() {
      return count('idle');
    },
    get warm() {
      return count('idle', 'busy');
    },
    get pids() {
      return [...children].map((child) => child.pid).filter((pid) => pid !== undefined);
    },
    canRun: (model) => loaded.has(model) && count('idle') > 0,
    onIdle(listener) {
      idleListener = listener;
    },
    async start() {
      const firsts = Array.from({ length: options.processes }, startChild);
      for (const child of firsts) keepers.push(keepAlive(child));
      await Promise.race(firsts.map((child) => child.warm));
    },
    async stop() {
      stopping.abort();
      await Promise.all([...children].map((child) => child.stop()));
      await Promise.all(keepers);
    },
    async run(model, sequences, stop) {
      const child = [...children].find(({ state }) => state === 'idle');
      if (!child) throw new ServiceError('model_unavailable', 'No inference process is idle.');
      try {
        const result = await child.run(model, sequences, stop);
        lossesInARow = 0;
        return result;
      } finally {
        if (child.state === 'idle') idleListener();
      }
    },
  };
}

function restartDelayMs(lossesInARow: number): number {
  if (lossesInARow === 0) return 0;
  return Math.min(RESTART_DELAY_MS.longest, RESTART_DELAY_MS.first * 2 ** (lossesInARow - 1));
}
