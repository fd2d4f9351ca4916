import { createFamily, type Family, type Labels } from './family.js';
import {
  counterSample,
  gaugeSample,
  histogramSample,
  type Counter,
  type Gauge,
  type Histogram,
  type Sample,
} from './instruments.js';
import { familyText } from './text-format.js';

/**
 * What a program counts and measures. Names are unique, in snake case and in base units (seconds, bytes, tokens); those of counters
 * end in `_total`. Without labels a metric is one instrument, which is there from the start; with labels it is a family of them.
 */
export interface Metrics {
  /** A number that only grows while the program runs. @throws RangeError for a name that is taken or is none, as do all. */
  counter(name: string, help: string): Counter;
  counter<Name extends string>(name: string, help: string, labels: readonly Name[]): Family<Counter, Name>;
  /** A number that goes up and down. */
  gauge(name: string, help: string): Gauge;
  gauge<Name extends string>(name: string, help: string, labels: readonly Name[]): Family<Gauge, Name>;
  /** Quantiles that somebody else computed, by the label `quantile`; their sum and count are not shown. */
  summary(name: string, help: string): Family<Gauge, 'quantile'>;
  /** How often values came that are no larger than each bound; the bounds ascend, an infinite one is added. */
  histogram(name: string, help: string, bounds: readonly number[]): Histogram;
  histogram<Name extends string>(
    name: string,
    help: string,
    bounds: readonly number[],
    labels: readonly Name[],
  ): Family<Histogram, Name>;
  /** Calls `update` before each `render`: for what is looked up only when somebody asks. */
  beforeRender(update: () => void): void;
  /** All metrics in the text format of Prometheus, version 0.0.4. */
  render(): string;
}

const NAME = /^[a-z_][a-z0-9_]*$/;

/**
 * A registry of metrics.
 *
 * It is our own because of what an observation costs: some 10 ns on an instrument that is kept, where libraries take from half a
 * microsecond to more than one; see decision 23.
 */
export function createMetrics(): Metrics {
  const texts = new Map<string, () => string>();
  const updates: (() => void)[] = [];

  /** The one instrument of a metric without labels, or the family of one with. */
  function add<Instrument>(head: Head, make: () => Sample<Instrument>): Instrument | Family<Instrument, string> {
    const { name, labels = [] } = head;
    if (![name, ...labels].every((word) => NAME.test(word)) || texts.has(name)) {
      throw new RangeError(`metric ${name} cannot be made`);
    }
    const family = createFamily(labels, make);
    texts.set(name, () => familyText(head, family.samples()));
    return head.labels ? family : family.of({});
  }

  const metrics = {
    counter: (name: string, help: string, labels?: readonly string[]) =>
      add({ name, help, labels, kind: 'counter' }, counterSample),
    gauge: (name: string, help: string, labels?: readonly string[]) =>
      add({ name, help, labels, kind: 'gauge' }, gaugeSample),
    summary: (name: string, help: string) => add({ name, help, labels: ['quantile'], kind: 'summary' }, gaugeSample),
    histogram(name: string, help: string, bounds: readonly number[], labels?: readonly string[]) {
      if (bounds.some((bound, index) => !(bound > (bounds[index - 1] ?? -Infinity)))) {
        throw new RangeError(`the bounds of metric ${name} do not ascend`);
      }
      return add({ name, help, labels, kind: 'histogram' }, () => histogramSample(bounds));
    },
    beforeRender: (update: () => void) => void updates.push(update),
    render() {
      for (const update of updates) update();
      return [...texts.values()].map((text) => text()).join('');
    },
  };
  return metrics as Metrics;
}

/** What stands above the samples of a metric. */
export interface Head {
  readonly name: string;
  readonly help: string;
  readonly kind: 'counter' | 'gauge' | 'summary' | 'histogram';
  readonly labels: readonly string[] | undefined;
}

export type { Counter, Family, Gauge, Histogram, Labels };
