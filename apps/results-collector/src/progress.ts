import type { Consumer } from '@sluice/broker';

export interface ProgressWatchOptions {
  readonly consumers: readonly Pick<Consumer, 'inFlight' | 'lastProgressAtMs'>[];
  /** False while work must wait for another server: then standing still is right. */
  readonly expected: () => boolean;
  /** Standing still for longer than this, with work in hand, is being stuck (milliseconds). */
  readonly patienceMs: number;
  /** Milliseconds of a clock that is never set. */
  readonly monotonicMs: () => number;
}

export interface ProgressWatch {
  /** To be called regularly. */
  observe(): void;
  /** Something is in hand and nothing has moved for too long. */
  readonly stuck: boolean;
}

/** Notices consumers that hold deliveries and settle none. Waiting is counted from when it was first observed. */
export function createProgressWatch({
  consumers,
  expected,
  patienceMs,
  monotonicMs,
}: ProgressWatchOptions): ProgressWatch {
  const still = consumers.map(({ lastProgressAtMs }) => ({ progressAtMs: lastProgressAtMs, sinceMs: monotonicMs() }));
  return {
    observe() {
      consumers.forEach((consumer, index) => {
        const moved = still[index]?.progressAtMs !== consumer.lastProgressAtMs;
        if (moved || consumer.inFlight === 0 || !expected()) {
          still[index] = { progressAtMs: consumer.lastProgressAtMs, sinceMs: monotonicMs() };
        }
      });
    },
    get stuck() {
      return still.some(({ sinceMs }) => monotonicMs() - sinceMs > patienceMs);
    },
  };
}
