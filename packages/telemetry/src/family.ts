import type { Sample } from './instruments.js';
import { labelText } from './text-format.js';

/** Label values by label name. Values are of small known sets: models, classes, codes; never ids of jobs. */
export type Labels<Name extends string = string> = Readonly<Record<Name, string>>;

/** The instruments of a metric with labels. */
export interface Family<Instrument, Name extends string> {
  /**
   * The instrument of these labels, the same one each time; made at 0 when it is asked for first. Who keeps it spares the search, which
   * takes up to a fifth of a microsecond.
   */
  of(labels: Labels<Name>): Instrument;
  /** Forgets every instrument. Those that somebody keeps are not shown any more. */
  clear(): void;
  /** Forgets instruments, for labels that go. Should they come again, they begin at 0. */
  forget(isGone: (labels: Labels<Name>) => boolean): void;
}

/** A sample as it is shown: the text of its labels, without braces. */
export interface ShownSample {
  readonly labels: string;
  readonly sample: Sample<unknown>;
}

interface Entry<Instrument> extends ShownSample {
  readonly values: Labels;
  readonly sample: Sample<Instrument>;
}

export interface ShownFamily<Instrument> extends Family<Instrument, string> {
  samples(): Iterable<ShownSample>;
}

/** @param labelNames of every instrument; they are shown in the order of the alphabet. */
export function createFamily<Instrument>(
  labelNames: readonly string[],
  make: () => Sample<Instrument>,
): ShownFamily<Instrument> {
  const names = [...labelNames].sort();
  const entries = new Map<string, Entry<Instrument>>();

  function keyOf(labels: Labels): string {
    // n.b. the text of a single label has its hash already, which is most of what a search takes.
    if (names.length === 1) return labels[names[0] ?? ''] ?? '';
    let key = '';
    for (const name of names) key += `${labels[name]}\0`;
    return key;
  }

  return {
    of(labels) {
      const key = keyOf(labels);
      let entry = entries.get(key);
      if (!entry) {
        const values = Object.fromEntries(names.map((name) => [name, labels[name] ?? '']));
        entry = { values, labels: labelText(values), sample: make() };
        entries.set(key, entry);
      }
      return entry.sample.instrument;
    },
    clear: () => entries.clear(),
    forget(isGone) {
      for (const [key, { values }] of entries) if (isGone(values)) entries.delete(key);
    },
    samples: () => entries.values(),
  };
}
