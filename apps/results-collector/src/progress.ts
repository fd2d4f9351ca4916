import type { Consumer } from '@sluice/broker';

export interface ProgressWatchOptions {
  readonly consumers: readonly Pick<Consumer, 'inFlight' | 'lastProgressAtMs'>[];
  /** False while work must wait for another server: then standing still is right. */
  readonly expected: () => boolean;
  /** Standing still for longer than this, with work in hand, is being stuck (milliseconds). */
  readonly patienceMs: number;
  /** Unix milliseconds. */
  readonly now: () => number;
}

export interface ProgressWatch {
  /** To be called regularly. */
  observe(): void;
  /** Something is in hand and nothing has moved for too long. */
  readonly stuck: boolean;
}

/** Notices consumers that hold deliveries and settle none. Waiting is counted from when it was first observed. */
export function createProgressWatch({ consumers, expected, patienceMs, now }: ProgressWatchOptions): ProgressWatch {
  const still = consumers.map(({ lastProgressAtMs }) => ({ progressAtMs: lastProgressAtMs, sinceMs: now() }));
  return {
    observe() {
      consumers.forEach((consumer, index) => {
        const moved = still[index]?.progressAtMs !== consumer.lastProgressAtMs;
        if (moved || consumer.inFlight === 0 || !expected()) {
          still[index] = { progressAtMs: consumer.lastProgressAtMs, sinceMs: now() };
        }
      });
    },
    get stuck() {
      return still.some(({ sinceMs }) => now() - sinceMs > patienceMs);
    },
  };
}
