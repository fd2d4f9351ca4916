/** A metric as a page of `/metrics` or the table of the docs has it. */
export interface Metric {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  /** Names in order. */
  readonly labels: readonly string[];
}

const HEAD = /^# HELP (\w+) (.*)\n# TYPE \w+ (\w+)$/;
const SAMPLE = /^\w+(?:\{(.*)\})? \S+$/;
/** What our programs say of a metric with labels that has no samples. */
const NO_SAMPLES = /^# \w+\{(.+)\} has no samples$/;
const LABEL = /(\w+)="(?:[^"\\]|\\.)*"/g;

/** The metrics of a page in Prometheus' text format; bounds of histograms are not among the labels. */
export function parseMetricsPage(page: string): readonly Metric[] {
  return page
    .split(/^(?=# HELP )/m)
    .filter((part) => part !== '')
    .map((part) => {
      const [help = '', type = '', ...samples] = part.trimEnd().split('\n');
      const head = HEAD.exec(`${help}\n${type}`);
      if (!head) throw new Error(`not a metric: ${help}`);
      return { name: head[1] ?? '', help: head[2] ?? '', type: head[3] ?? '', labels: labelsOf(samples) };
    });
}

function labelsOf(samples: readonly string[]): readonly string[] {
  const none = NO_SAMPLES.exec(samples[0] ?? '');
  if (none) return (none[1] ?? '').split(',').sort();
  const names = new Set<string>();
  for (const sample of samples) {
    const found = SAMPLE.exec(sample);
    if (!found) throw new Error(`not a sample: ${sample}`);
    for (const [, name = ''] of (found[1] ?? '').matchAll(LABEL)) if (name !== 'le') names.add(name);
  }
  return [...names].sort();
}

/** A row of the table in docs/04-operations/metrics.md. */
export interface DocumentedMetric extends Metric {
  /** Programs whose page has it. */
  readonly apps: readonly string[];
}

const APPS: Readonly<Record<string, string>> = {
  gateway: 'api-gateway',
  worker: 'ml-worker',
  collector: 'results-collector',
};

/** The rows of all tables of the page whose first column is a metric: name, type, labels, unit, apps, meaning, what to do. */
export function parseMetricsTable(markdown: string): readonly DocumentedMetric[] {
  return markdown
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => {
      const [, name = '', type = '', labels = '', , apps = '', help = ''] = line.split('|').map((cell) => cell.trim());
      return {
        name: name.replaceAll('`', ''),
        type,
        labels: labels === '' ? [] : labels.split(', ').sort(),
        apps: apps === 'all' ? Object.values(APPS) : apps.split(', ').map((app) => APPS[app] ?? app),
        help,
      };
    });
}
