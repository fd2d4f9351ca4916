export interface Counter {
  /** Adds `by`, 1 when absent. What is not above 0 changes nothing. */
  add(by?: number): void;
}

export interface Gauge {
  set(value: number): void;
}

export interface Histogram {
  /** Counts a value. What is not above 0 counts as 0: clocks differ. */
  observe(value: number): void;
}

/** A line of a metric: what follows its name, a further label, and the value. */
export interface Line {
  /** `_bucket`, `_sum` and `_count` of a histogram. */
  readonly suffix: string;
  readonly label: string;
  readonly value: number;
}

/** An instrument with the lines that it is shown by. */
export interface Sample<Instrument> {
  readonly instrument: Instrument;
  lines(): readonly Line[];
}

export function counterSample(): Sample<Counter> {
  let total = 0;
  return {
    instrument: {
      add(by = 1) {
        if (by > 0) total += by;
      },
    },
    lines: () => [{ suffix: '', label: '', value: total }],
  };
}

export function gaugeSample(): Sample<Gauge> {
  let current = 0;
  return {
    instrument: {
      set(value) {
        current = value;
      },
    },
    lines: () => [{ suffix: '', label: '', value: current }],
  };
}

/** @param bounds ascending. */
export function histogramSample(bounds: readonly number[]): Sample<Histogram> {
  /** By the first bound that is not below the value; the last for values beyond all bounds. */
  const counts = new Float64Array(bounds.length + 1);
  let sum = 0;
  return {
    instrument: {
      observe(value) {
        const counted = value > 0 ? value : 0;
        let index = 0;
        while (index < bounds.length && counted > (bounds[index] ?? Infinity)) index += 1;
        counts[index] = (counts[index] ?? 0) + 1;
        sum += counted;
      },
    },
    lines() {
      let count = 0;
      const buckets = [...bounds, Infinity].map((bound, index) => {
        count += counts[index] ?? 0;
        return { suffix: '_bucket', label: `le="${bound === Infinity ? '+Inf' : bound}"`, value: count };
      });
      return [...buckets, { suffix: '_sum', label: '', value: sum }, { suffix: '_count', label: '', value: count }];
    },
  };
}
