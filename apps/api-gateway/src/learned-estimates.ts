import type { Estimate } from '@sluice/contracts';
import { LRUCache } from 'lru-cache';

/** What jobs of a tenant on a model really produced. */
export interface LearnedOutput {
  /** The quantile that the tenant's estimates ask for; may be a fraction. */
  readonly outputTokens: number;
  /** How many jobs it is drawn from. */
  readonly samples: number;
}

export interface OutputWanted {
  readonly tenantId: string;
  readonly model: string;
  readonly estimate: Estimate;
  /** The most the job can produce. */
  readonly maxOutputTokens: number;
}

export interface LearnedEstimates {
  /** Tokens to hold for a job's output, 0 … its maximum; the maximum while too little was learned. */
  outputTokens(wanted: OutputWanted): number;
  /** Notes what a reserve reply told. */
  observe(tenantId: string, model: string, learned: LearnedOutput): void;
}

/** Below this a quantile says little. */
const MIN_SAMPLES = 20;
const MAX_ENTRIES = 10_000;

/**
 * Remembers what reserve replies tell of the output of jobs, by tenant and model. A hold is therefore one job behind what
 * Redis has learned, which saves a round trip and makes no difference to a quantile.
 */
export function createLearnedEstimates(): LearnedEstimates {
  // n.b. by size, each entry being 1: with `max` the room for all entries would be taken at once.
  const entries = new LRUCache<string, LearnedOutput>({ maxSize: MAX_ENTRIES, sizeCalculation: () => 1 });
  return {
    outputTokens({ tenantId, model, estimate, maxOutputTokens }) {
      if (estimate === 'exact' || maxOutputTokens === 0) return maxOutputTokens;
      const learned = entries.get(`${tenantId} ${model}`);
      if (!learned || learned.samples < MIN_SAMPLES) return maxOutputTokens;
      return Math.min(maxOutputTokens, Math.max(estimate.floorTokens, Math.ceil(learned.outputTokens)));
    },
    observe(tenantId, model, learned) {
      entries.set(`${tenantId} ${model}`, learned);
    },
  };
}
