import { totalTokens } from '@sluice/contracts';
import type { CompletedFact } from '@sluice/store';
import { RATIO_BOUNDS, type Metrics } from '@sluice/telemetry';

/** Returns what is to be told of each end of a job: how well what was held for it fits what it used. */
export function createEstimateMetrics(metrics: Metrics): (fact: CompletedFact) => void {
  const ratios = metrics.histogram(
    'sluice_estimate_ratio',
    'Tokens that were held for a job over those that it used, of jobs that succeeded.',
    RATIO_BOUNDS,
    ['model'],
  );
  const overage = metrics.counter(
    'sluice_overage_tokens_total',
    'Tokens that jobs used beyond what was held for them.',
    ['model'],
  );

  return ({ model, state, usage, reservedTokens }) => {
    // n.b. those of workers of an older version do not tell it.
    if (reservedTokens === undefined) return;
    const used = totalTokens(usage);
    overage.of({ model }).add(used - reservedTokens);
    if (state === 'succeeded' && used > 0) ratios.of({ model }).observe(reservedTokens / used);
  };
}
