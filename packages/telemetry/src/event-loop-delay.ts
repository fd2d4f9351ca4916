import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks';
import type { Metrics } from './metrics.js';

const RESOLUTION_MS = 10;
const PERCENTILES = [50, 99, 100] as const;

/**
 * Watches how late this process gets to what arrives: `sluice_event_loop_delay_seconds` by `quantile`, over the time since the metrics
 * were last asked for; 0 where nothing was measured. Somebody who asks shortens what another who asks is told of.
 */
export function createEventLoopDelay(metrics: Metrics) {
  const delay = metrics.summary(
    'sluice_event_loop_delay_seconds',
    'How late the event loop was, by quantile, since the last look at the metrics.',
  );
  let histogram: IntervalHistogram | undefined;

  metrics.beforeRender(() => {
    if (!histogram) return;
    for (const percent of PERCENTILES) {
      // n.b. the histogram holds the time from one tick of its timer to the next, in nanoseconds.
      const lateMs = histogram.count > 0 ? histogram.percentile(percent) / 1e6 - RESOLUTION_MS : 0;
      delay.of({ quantile: String(percent / 100) }).set(Math.max(0, lateMs) / 1000);
    }
    histogram.reset();
  });

  return {
    start() {
      histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
      histogram.enable();
    },
    stop: () => void histogram?.disable(),
  };
}
