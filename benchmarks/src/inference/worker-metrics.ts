/** Values of a page in the text format of Prometheus, by name and labels as they are written there. */
export type MetricValues = ReadonlyMap<string, number>;

/** How a worker formed its batches between two looks at its metrics, and how late it was. */
export interface Batching {
  /** Tokens of the texts as a share of the tokens that were run. */
  readonly usefulShare: number;
  readonly textsPerRun: number;
  /** Of the event loop of the worker's parent. */
  readonly loopDelayMs: { readonly p50: number; readonly p99: number; readonly longest: number };
}

export function parseMetrics(page: string): MetricValues {
  return new Map(
    page
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => {
        const end = line.lastIndexOf(' ');
        return [line.slice(0, end), Number(line.slice(end + 1))] as const;
      }),
  );
}

/**
 * @param model its public name; only one version of it runs.
 * @param before of the moment at which the time of interest begins: the event loop's delay is of what came after.
 */
export function batchingBetween(model: string, before: MetricValues, after: MetricValues): Batching {
  const grown = (name: string): number => sumOf(name, model, after) - sumOf(name, model, before);
  const tokens = grown('sluice_worker_tokens_total');
  const delayMs = (quantile: string): number =>
    (after.get(`sluice_event_loop_delay_seconds{quantile="${quantile}"}`) ?? 0) * 1000;
  return {
    usefulShare: tokens / (tokens + grown('sluice_worker_padding_tokens_total')),
    textsPerRun: grown('sluice_worker_texts_total') / grown('sluice_worker_batches_total'),
    loopDelayMs: { p50: delayMs('0.5'), p99: delayMs('0.99'), longest: delayMs('1') },
  };
}

/** Of a model, over all other labels. */
function sumOf(name: string, model: string, values: MetricValues): number {
  return [...values]
    .filter(([sample]) => sample.startsWith(`${name}{`) && sample.includes(`model="${model}"`))
    .reduce((sum, [, value]) => sum + value, 0);
}
