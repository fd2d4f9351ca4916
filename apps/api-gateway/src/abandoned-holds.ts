import type { Quota } from '@sluice/quota';
import type { Logger } from '@sluice/runtime';
import type { GatewayMetrics } from './gateway-metrics.js';

export interface AbandonedHold {
  readonly tenantId: string;
  readonly jobId: string;
  readonly owner: string;
}

export interface AbandonedHoldsOptions {
  readonly quota: Pick<Quota, 'release'>;
  readonly metrics: Pick<GatewayMetrics, 'released'>;
  readonly logger: Logger;
}

export interface AbandonedHolds {
  /** Gives a hold back now, or as soon as Redis answers again. */
  add(hold: AbandonedHold): void;
  /** Holds still to be given back. */
  readonly size: number;
  /** Stops trying. */
  stop(): Promise<void>;
}

const RETRY_DELAY_MS = 1_000;
const MAX_TRIES = 60;
/** Beyond this many the sweeper has to find them, when they expire. */
const MAX_HOLDS = 10_000;

/**
 * Gives back holds of requests that failed for certain, or whose reserve has no known outcome. Only the owner's hold is
 * released: one that a repeated request has taken over meanwhile stays.
 */
export function createAbandonedHolds({ quota, metrics, logger }: AbandonedHoldsOptions): AbandonedHolds {
  const waiting = new Map<string, { readonly hold: AbandonedHold; tries: number }>();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  async function release(): Promise<void> {
    const batch = [...waiting.values()];
    await Promise.all(
      batch.map(async (entry) => {
        entry.tries += 1;
        try {
          await quota.release(entry.hold);
          metrics.released();
          waiting.delete(entry.hold.jobId);
        } catch (error) {
          if (entry.tries < MAX_TRIES) return;
          waiting.delete(entry.hold.jobId);
          logger.warn(
            { err: error, jobId: entry.hold.jobId },
            'a hold was not given back; it is swept when it expires',
          );
        }
      }),
    );
    timer = undefined;
    if (waiting.size > 0) schedule(RETRY_DELAY_MS);
  }

  function schedule(delayMs: number): void {
    if (stopped || timer) return;
    timer = setTimeout(() => void release(), delayMs);
    timer.unref();
  }

  return {
    get size() {
      return waiting.size;
    },
    add({ tenantId, jobId, owner }) {
      if (waiting.size >= MAX_HOLDS) return;
      waiting.set(jobId, { hold: { tenantId, jobId, owner }, tries: 0 });
      schedule(0);
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      if (waiting.size > 0) await release();
    },
  };
}
