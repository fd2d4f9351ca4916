import { delay } from '@sluice/runtime';

const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 5_000;

/** Thrown by `persist` when it was told to stop before the operation had succeeded. */
export class StoppedError extends Error {
  constructor(cause: unknown) {
    super('stopped before it succeeded', { cause });
    this.name = 'StoppedError';
  }
}

export interface PersistOptions {
  /** Ends the waiting. An attempt in progress still runs to its end. */
  readonly signal: AbortSignal;
  /** Hears of every failure, and of the wait that follows in milliseconds; undefined when it was the last attempt. */
  readonly onFailure: (error: unknown, attempt: number, delayMs: number | undefined) => void;
  /** False for errors that trying again cannot heal; they are thrown on. All errors are waited out when absent. */
  readonly mayHeal?: (error: unknown) => boolean;
  readonly firstDelayMs?: number;
  /** The last attempt throws its error; there is none when absent. */
  readonly maxAttempts?: number;
}

/**
 * Tries an operation until it succeeds, waiting 100 ms, then twice as long each time, up to 5 s. It is for work that
 * must not be given up because a server is away; with `maxAttempts` for work that is better begun anew later.
 *
 * @throws StoppedError when the signal aborts first.
 */
export async function persist<T>(operation: () => Promise<T>, options: PersistOptions): Promise<T> {
  const { signal, onFailure, mayHeal = () => true, firstDelayMs = FIRST_DELAY_MS, maxAttempts = Infinity } = options;
  for (let attempt = 1; ; attempt++) {
    try {
      return await operation();
    } catch (error) {
      if (!mayHeal(error)) throw error;
      if (signal.aborted) throw new StoppedError(error);
      const delayMs = attempt < maxAttempts ? backoffMs(attempt, firstDelayMs) : undefined;
      onFailure(error, attempt, delayMs);
      if (delayMs === undefined) throw error;
      await delay(delayMs, signal);
      if (signal.aborted) throw new StoppedError(error);
    }
  }
}

/** The wait after a number of failures, from 1, in milliseconds. */
export function backoffMs(attempt: number, firstDelayMs = FIRST_DELAY_MS): number {
  return Math.min(MAX_DELAY_MS, firstDelayMs * 2 ** (attempt - 1));
}
