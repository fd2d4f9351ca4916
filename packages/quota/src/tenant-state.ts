import { periodId } from './periods.js';
import type { StoredHold, StoredLimit, TenantState } from './quota.js';
import { fieldSubject, namesField, readNames, readScope, unitOf, type StoredRecord } from './scope-state.js';

/** Reads the `quota` hash of a tenant; undefined when it was not loaded in this era, see `Node`. */
export function readTenant(fields: Readonly<Record<string, Buffer>>, era: string): TenantState | undefined {
  if (fields['loaded']?.toString().startsWith(`${era} `) !== true) return undefined;
  const limits: StoredLimit[] = [];
  const holds = new Map<string, StoredHold>();
  for (const [field, value] of Object.entries(fields)) {
    if (field.startsWith('h:')) {
      holds.set(field.slice('h:'.length), readHold(value.toString()));
      continue;
    }
    const subject = fieldSubject(field);
    if (!subject) continue;
    const { atMs, names, records } = readScope(value, readNames(fields[namesField(field)]));
    records.forEach((record, i) => limits.push({ ...subject, name: names[i] ?? '', ...storedLimit(record, atMs) }));
  }
  return { limits, holds };
}

function storedLimit(record: StoredRecord, atMs: number): Omit<StoredLimit, 'scope' | 'subject' | 'name'> {
  const { code, kind } = record;
  const facts = { kind, unit: unitOf(code), used: 0, held: 0, overage: 0 };
  if (kind === 'rate') return { ...facts, used: Math.ceil(record.lack / record.windowMs), atMs };
  if (kind === 'inFlight') return { ...facts, held: record.held };
  const { used, held, overage, period, sinceMs, endsAtMs } = record;
  return { ...facts, used, held, overage, period: { id: periodId(period), sinceMs, endsAtMs } };
}

/** A hold as `lua/scope-state.lua` describes it. */
export function readHold(text: string): StoredHold {
  const [, , apiKeyId = '', model = '', numbers = ''] = text.split('\n');
  const [tokens = 0, nanoUsd = 0, , acceptedAtMs = 0] = numbers.split(' ').map(Number);
  return { apiKeyId, model, amounts: { tokens, nanoUsd }, acceptedAtMs };
}
