import { LIMIT_KINDS, LIMIT_UNITS, type LimitKind, type LimitScope, type LimitUnit } from '@sluice/contracts';

/*
 * The form in which scripts keep the limits of one subject; lua/scope-state.lua describes it. Its writer here serves
 * loads, its reader serves whoever wants to know how far limits are used.
 */

/**
 * The form in which limits, holds, their names and what is staged for them are kept. Add one whenever a version would
 * read wrongly what the one before wrote, or the other way round: in `lua/scope-state.lua`, in the notes of a load, or in
 * what a number means. Each form takes tenants that were loaded in another for not loaded, so a rolling update is exact,
 * but slow while both run. Snapshots, idempotency keys and histograms live on: another form of those needs new keys.
 */
export const FORMAT = 2;

/** A limit as it is kept: of the moment `atMs` of its scope. */
export type StoredRecord =
  /** `lack`: units × window that the bucket lacks. */
  | { readonly code: number; readonly kind: 'rate'; max: number; windowMs: number; lack: number }
  | {
      readonly code: number;
      readonly kind: 'quota';
      period: number;
      sinceMs: number;
      endsAtMs: number;
      held: number;
      used: number;
      overage: number;
    }
  | { readonly code: number; readonly kind: 'inFlight'; held: number };

export interface StoredScope {
  readonly atMs: number;
  readonly names: readonly string[];
  /** In the order of the names. */
  readonly records: readonly StoredRecord[];
}

const HEADER = 4;
const UNITS = LIMIT_UNITS.length;

/** A number for kind and unit, from 1. */
export function codeOf(kind: LimitKind, unit: LimitUnit): number {
  return LIMIT_KINDS.indexOf(kind) * UNITS + LIMIT_UNITS.indexOf(unit) + 1;
}

/** The unit that a code stands for. */
export function unitOf(code: number): LimitUnit {
  return LIMIT_UNITS[(code - 1) % UNITS] ?? 'requests';
}

const PREFIXES: Readonly<Record<Exclude<LimitScope, 'tenant'>, string>> = { apiKey: 'k:', model: 'm:' };

/** The field of a tenant's hash that keeps a scope. */
export function scopeField(scope: LimitScope, subject: string): string {
  return scope === 'tenant' ? 't' : PREFIXES[scope] + subject;
}

/** Whose scope a field keeps; undefined for other fields. */
export function fieldSubject(field: string): { readonly scope: LimitScope; readonly subject: string } | undefined {
  if (field === 't') return { scope: 'tenant', subject: '' };
  const scope = (['apiKey', 'model'] as const).find((name) => field.startsWith(PREFIXES[name]));
  return scope && { scope, subject: field.slice(PREFIXES[scope].length) };
}

/** What is packed for a limit. Infinite ceilings are those of soft limits. */
export interface PackedLimit {
  readonly ceiling: number;
  readonly record: StoredRecord;
}

/** Packs a scope whose `at` is still open: `stage` sets it. */
export function packScope(version: number, limits: readonly PackedLimit[]): Buffer {
  const ends = limits.flatMap(({ record }) => (record.kind === 'quota' ? [record.endsAtMs] : []));
  const numbers = [0, version, 0, Math.min(...ends, Infinity), ...limits.flatMap(numbersOf)];
  numbers[0] = numbers.length;
  const packed = Buffer.alloc(8 * numbers.length);
  numbers.forEach((number, i) => packed.writeDoubleLE(number, 8 * i));
  return packed;
}

function numbersOf({ ceiling, record }: PackedLimit): readonly number[] {
  const { code } = record;
  if (record.kind === 'rate') return [code, ceiling, record.max, record.windowMs, record.lack];
  if (record.kind === 'inFlight') return [code, ceiling, record.held];
  const { period, sinceMs, endsAtMs, held, used, overage } = record;
  return [code, ceiling, period, sinceMs, endsAtMs, held, used, overage];
}

/** The field that keeps the names of a scope's limits. */
export function namesField(field: string): string {
  return `n:${field}`;
}

/** Names as they are kept; none when they are not. */
export function readNames(kept: Buffer | undefined): readonly string[] {
  const text = kept?.toString() ?? '';
  return text === '' ? [] : text.split(' ');
}

/** Reads the records of a packed scope that `names` are of; these are all or the first ones. */
export function readScope(packed: Buffer, names: readonly string[]): StoredScope {
  // Copied, for a buffer need not begin at a multiple of 8.
  const numbers = new Float64Array(packed.length / 8);
  new Uint8Array(numbers.buffer).set(packed);
  const records: StoredRecord[] = [];
  let i = HEADER;
  while (records.length < names.length) {
    const [record, length] = readRecord(numbers, i);
    records.push(record);
    i += length;
  }
  return { atMs: numbers[2] ?? 0, names, records };
}

/** The record at an index, and how many numbers it has. */
function readRecord(numbers: Float64Array, i: number): readonly [StoredRecord, length: number] {
  const number = (offset: number): number => numbers[i + offset] ?? 0;
  const code = number(0);
  const kind = LIMIT_KINDS[Math.floor((code - 1) / UNITS)];
  if (kind === 'rate') return [{ code, kind, max: number(2), windowMs: number(3), lack: number(4) }, 5];
  if (kind !== 'quota') return [{ code, kind: 'inFlight', held: number(2) }, 3];
  const period = { period: number(2), sinceMs: number(3), endsAtMs: number(4) };
  return [{ code, kind, ...period, held: number(5), used: number(6), overage: number(7) }, 8];
}

/** The record of a limit. */
export function recordOf({ names, records }: StoredScope, name: string, guess: number): StoredRecord | undefined {
  return records[names[guess] === name ? guess : names.indexOf(name)];
}
