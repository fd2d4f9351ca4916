import { occurredAtMs, type Fact } from './facts.js';

/** A full batch of facts older than this means that the queue has more than this collector keeps up with. */
const LAG_MS = 30_000;

export interface BacklogOptions {
  /** Facts in a full batch. */
  readonly maxBatch: number;
  /** Unix milliseconds. */
  readonly now: () => number;
}

export interface Backlog {
  /** To be called with every batch of facts that was handled. */
  handled(facts: readonly Fact[]): void;
  /** To be called when facts could not be handled, or were not coming. */
  disturbed(): void;
  /** For how long nothing has hinted at facts that wait in the queue, in milliseconds. */
  quietForMs(): number;
}

/**
 * Knows whether facts may be waiting in the queue. The sweep decides by what PostgreSQL does *not* know yet, and after
 * an outage that may be the very usage that waits to be recorded: it must not expire such a job first.
 *
 * A backlog shows as batches that are both full and old. Age alone would not do, the clocks of workers differ.
 */
export function createBacklog({ maxBatch, now }: BacklogOptions): Backlog {
  let quietSinceMs = now();
  return {
    handled(facts) {
      if (facts.length < maxBatch) return;
      const newest = facts.reduce((latest, fact) => Math.max(latest, occurredAtMs(fact)), 0);
      if (now() - newest > LAG_MS) quietSinceMs = now();
    },
    disturbed() {
      quietSinceMs = now();
    },
    quietForMs() {
      return now() - quietSinceMs;
    },
  };
}
