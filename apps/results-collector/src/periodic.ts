import { delay, type Logger, type Service } from '@sluice/runtime';

export interface PeriodicOptions {
  /** For the log. */
  readonly name: string;
  /** From the end of a run to the next, in milliseconds; varied by a tenth, so that several programs do not march in step. */
  readonly intervalMs: number;
  /** From the end of a run that failed to the next, in milliseconds; `intervalMs` when absent. */
  readonly retryMs?: number;
  readonly run: (signal: AbortSignal) => Promise<void>;
  /** Hears of every run that ended by itself. */
  readonly onRun?: (outcome: 'done' | 'failed') => void;
  readonly logger: Logger;
}

/**
 * Runs something again and again, never twice at once, the first time when started. A run that fails is logged.
 * `stop` aborts the signal and waits for the run in progress.
 */
export function createPeriodic(options: PeriodicOptions): Service {
  const { name, intervalMs, retryMs = intervalMs, run, onRun, logger } = options;
  const halt = new AbortController();
  let loop: Promise<void> | undefined;

  async function runOnce(): Promise<number> {
    try {
      await run(halt.signal);
      onRun?.('done');
      return intervalMs;
    } catch (error) {
      if (!halt.signal.aborted) {
        onRun?.('failed');
        logger.warn({ err: error, task: name }, 'a periodic task failed');
      }
      return retryMs;
    }
  }

  async function repeat(): Promise<void> {
    while (!halt.signal.aborted) {
      const pauseMs = await runOnce();
      await delay(pauseMs * (0.9 + Math.random() / 5), halt.signal);
    }
  }

  return {
    async start() {
      loop ??= repeat();
    },
    async stop() {
      halt.abort();
      await loop;
    },
  };
}
