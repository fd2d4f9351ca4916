import type { Labels, ShownSample } from './family.js';
import type { Head } from './metrics.js';

/**
 * A metric with all its samples, in the text format of Prometheus. One with labels that has none yet tells their names in a comment, which
 * Prometheus skips: `# sluice_retries_total{code,tier} has no samples`.
 */
export function familyText({ name, help, kind, labels: names = [] }: Head, samples: Iterable<ShownSample>): string {
  const helpText = help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
  const head = `# HELP ${name} ${helpText}\n# TYPE ${name} ${kind}\n`;
  let text = head;
  for (const { labels, sample } of samples) {
    for (const { suffix, label, value } of sample.lines()) {
      const all = labels !== '' && label !== '' ? `${labels},${label}` : labels + label;
      text += `${name}${suffix}${all === '' ? '' : `{${all}}`} ${numberText(value)}\n`;
    }
  }
  return text === head ? `${head}# ${name}{${[...names].sort().join(',')}} has no samples\n` : text;
}

/** `a="1",b="2"`; nothing for none. */
export function labelText(labels: Labels): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escaped(value)}"`)
    .join(',');
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function numberText(value: number): string {
  if (value === Infinity) return '+Inf';
  return value === -Infinity ? '-Inf' : String(value);
}
