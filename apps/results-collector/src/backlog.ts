import type { Fact } from '@sluice/store';
import { occurredAtMs } from './facts.js';

/** Facts older than this have waited somewhere, most likely in the queue. */
const LAG_MS = 30_000;
/** A queue in which something waits does not leave a collector idle for longer. */
const PAUSE_MS = 1_000;

export interface BacklogOptions {
  /** Deliveries in a full batch. */
  readonly maxBatch: number;
  /** Unix milliseconds. */
  readonly now: () => number;
}

/** A batch that was handled. */
export interface HandledBatch {
  /** Everything that was received, readable or not. */
  readonly deliveries: number;
  readonly facts: readonly Fact[];
  /** Unix milliseconds. */
  readonly startedAtMs: number;
}

export interface Backlog {
  /** To be called with every batch that was handled. */
  handled(batch: HandledBatch): void;
  /** To be called when facts could not be handled, or were not coming. */
  disturbed(): void;
  /** For how long nothing has hinted at facts that wait in the queue, in milliseconds. */
  quietForMs(): number;
}

/**
 * Knows whether facts may be waiting in the queue. The sweep decides by what PostgreSQL does *not* know yet, and after
 * an outage that may be the very usage that waits to be recorded: it must not expire such a job first.
 *
 * A backlog shows as batches that are old, and full or without a pause before them (large facts come too slowly to
 * fill a batch). Age alone would not do, the clocks of workers differ.
 */
export function createBacklog({ maxBatch, now }: BacklogOptions): Backlog {
  let quietSinceMs = now();
  let handledAtMs = -Infinity;

  function isOld(facts: readonly Fact[]): boolean {
    const newest = facts.reduce((latest, fact) => Math.max(latest, occurredAtMs(fact)), -Infinity);
    return now() - newest > LAG_MS;
  }

  return {
    handled({ deliveries, facts, startedAtMs }) {
      const full = deliveries >= maxBatch;
      const withoutPause = facts.length > 0 && startedAtMs - handledAtMs <= PAUSE_MS;
      handledAtMs = now();
      if ((full || withoutPause) && isOld(facts)) quietSinceMs = now();
    },
    disturbed() {
      quietSinceMs = now();
    },
    quietForMs() {
      return now() - quietSinceMs;
    },
  };
}
