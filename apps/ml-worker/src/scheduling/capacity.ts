import type { ModelBatching } from './batching.js';

/**
 * Real tokens that one process gets done in a second while plenty of texts of this length wait: in batches as large as the bounds and
 * the cost curve make them. Infinity for a model that takes no time by its curve.
 */
export function tokensPerSecond({ limits, cost }: ModelBatching, length: number, batchable: boolean): number {
  const { maxTokens, targetLatencyMs } = limits;
  // n.b. texts of a model that takes one at a time share the trip to the process, not the run.
  const runMs = (count: number): number => (batchable ? cost.runMs(count, length) : count * cost.runMs(1, length));
  let texts = Math.max(1, Math.floor(Math.min(maxTokens, cost.bestTokens) / length));
  while (texts > 1 && runMs(texts) > targetLatencyMs) texts = Math.ceil(texts / 2);
  return (texts * length * 1000) / (cost.tripMs + runMs(texts));
}
