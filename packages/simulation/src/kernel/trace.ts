import { hashOf } from './random.js';
import type { Owner, Trace, TraceEntry } from './types.js';

/** The trace of one run; `record` is for the scheduler. */
export interface RecordedTrace extends Trace {
  record(timeUs: number, owner: Owner, label: string): void;
}

/** Remembers the last `remembered` events; names are put together only when somebody reads them. */
export function createTrace(remembered: number, onEvent?: (entry: TraceEntry) => void): RecordedTrace {
  const times = new Float64Array(remembered);
  const owners: Owner[] = new Array<Owner>(remembered);
  const labels: string[] = new Array<string>(remembered).fill('');
  const hashes = new Map<string, number>();
  let low = 0x811c9dc5 | 0;
  let high = 0x01000193;
  let events = 0;

  function mix(word: number): void {
    low = Math.imul(low ^ word, 0x01000193);
    high = Math.imul((high << 13) | (high >>> 19), 0x5bd1e995) ^ low;
  }

  function known(text: string): number {
    let hash = hashes.get(text);
    if (hash === undefined) hashes.set(text, (hash = hashOf(text)));
    return hash;
  }

  function entry(index: number): TraceEntry {
    const slot = index % remembered;
    return { index, timeUs: times[slot] ?? 0, owner: ownerName(owners[slot]), label: labels[slot] ?? '' };
  }

  return {
    record(timeUs, owner, label) {
      mix(timeUs | 0);
      if (owner !== undefined) mix(known(owner.name) + owner.epoch);
      mix(known(label));
      const slot = events % remembered;
      times[slot] = timeUs;
      owners[slot] = owner;
      labels[slot] = label;
      events += 1;
      onEvent?.(entry(events - 1));
    },
    note: (text) => mix(hashOf(text)),
    get hash() {
      return (low >>> 0).toString(16).padStart(8, '0') + (high >>> 0).toString(16).padStart(8, '0');
    },
    get events() {
      return events;
    },
    last() {
      const first = Math.max(0, events - remembered);
      return Array.from({ length: events - first }, (_, offset) => entry(first + offset));
    },
  };
}

/** As it appears in a trace. */
export function ownerName(owner: Owner): string {
  return owner === undefined ? 'world' : `${owner.name}#${owner.epoch}`;
}
