import { describe, expect, it } from '@jest/globals';
import { batchingBetween, parseMetrics } from './worker-metrics.js';

const page = (full: number, drain: number, tokens: number, padding: number, p99: number): string => `
# HELP sluice_worker_batches_total Batches that began to run, by why they were closed.
# TYPE sluice_worker_batches_total counter
sluice_worker_batches_total{model="a",reason="full",version="1"} ${full}
sluice_worker_batches_total{model="a",reason="drain",version="1"} ${drain}
sluice_worker_batches_total{model="b",reason="full",version="1"} 1000
sluice_worker_texts_total{model="a",version="1"} ${10 * (full + drain)}
sluice_worker_tokens_total{model="a",version="1"} ${tokens}
sluice_worker_padding_tokens_total{model="a",version="1"} ${padding}
sluice_event_loop_delay_seconds{quantile="0.99"} ${p99}
`;

describe('batchingBetween', () => {
  it('tells of the model and the time between, whatever the reasons were', () => {
    const before = parseMetrics(page(1, 2, 100, 100, 9));
    const after = parseMetrics(page(4, 6, 175, 125, 0.004));
    expect(batchingBetween('a', before, after)).toEqual({
      usefulShare: 0.75,
      textsPerRun: 10,
      loopDelayMs: { p50: 0, p99: 4, longest: 0 },
    });
  });

  it('counts from nothing where a model had not run before', () => {
    const { textsPerRun } = batchingBetween('a', parseMetrics(''), parseMetrics(page(1, 1, 1, 0, 0)));
    expect(textsPerRun).toBe(10);
  });
});
