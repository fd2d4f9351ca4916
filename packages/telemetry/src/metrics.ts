/** Label values by label name; every sample of a metric has the same names. */
export type Labels = Readonly<Record<string, string>>;

export interface Counter {
  /** Adds `by`, a number from 0; 1 when absent. */
  add(labels?: Labels, by?: number): void;
  /** Forgets samples, for labels that come and go. Should one come again, it begins at 0. */
  forget(isGone: (labels: Labels) => boolean): void;
}

export interface Gauge {
  set(value: number, labels?: Labels): void;
  /** Forgets every sample, for gauges whose labels come and go. */
  clear(): void;
  /** Forgets samples, as a counter does. */
  forget(isGone: (labels: Labels) => boolean): void;
}

export interface Metrics {
  /** A number that only grows while the program runs. Its name ends in `_total` by convention. */
  counter(name: string, help: string): Counter;
  /** A number that goes up and down. */
  gauge(name: string, help: string): Gauge;
  /** All metrics in the text format of Prometheus, version 0.0.4. */
  render(): string;
}

/**
 * A registry of counters and gauges, the least that `/metrics` needs. n.b. it is to be replaced by OpenTelemetry, which
 * brings histograms and traces; until then nothing is added here.
 */
export function createMetrics(): Metrics {
  const families = new Map<string, { readonly kind: string; readonly help: string; readonly samples: Samples }>();

  function family(name: string, help: string, kind: 'counter' | 'gauge'): Samples {
    if (!/^[a-z_][a-z0-9_]*$/.test(name) || families.has(name)) throw new RangeError(`metric ${name} cannot be made`);
    const samples: Samples = new Map();
    families.set(name, { kind, help, samples });
    return samples;
  }

  return {
    counter(name, help) {
      const samples = family(name, help, 'counter');
      return {
        add(labels = {}, by = 1) {
          const sample = sampleOf(samples, labels);
          sample.value += by;
        },
        forget: (isGone) => forget(samples, isGone),
      };
    },
    gauge(name, help) {
      const samples = family(name, help, 'gauge');
      return {
        set(value, labels = {}) {
          sampleOf(samples, labels).value = value;
        },
        clear: () => samples.clear(),
        forget: (isGone) => forget(samples, isGone),
      };
    },
    render() {
      const lines = [...families].flatMap(([name, { kind, help, samples }]) => [
        `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`,
        `# TYPE ${name} ${kind}`,
        ...[...samples].map(([labels, { value }]) => `${name}${labels} ${value}`),
      ]);
      return lines.map((line) => `${line}\n`).join('');
    },
  };
}

interface Sample {
  readonly labels: Labels;
  value: number;
}

/** By the text of their labels. */
type Samples = Map<string, Sample>;

function sampleOf(samples: Samples, labels: Labels): Sample {
  const key = labelText(labels);
  let sample = samples.get(key);
  if (!sample) samples.set(key, (sample = { labels, value: 0 }));
  return sample;
}

function forget(samples: Samples, isGone: (labels: Labels) => boolean): void {
  for (const [key, { labels }] of samples) if (isGone(labels)) samples.delete(key);
}

/** `{a="1",b="2"}`, sorted by name so that the same labels are the same sample; nothing for none. */
function labelText(labels: Labels): string {
  const pairs = Object.entries(labels)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
