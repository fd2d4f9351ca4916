import { expect } from '@jest/globals';
import type { LimitState } from '../../src/model/limit-state.js';
import { alive, type Expiring } from '../../src/model/tenant-model.js';
import { periodId } from '../../src/periods.js';
import { readNames, readScope, type StoredRecord } from '../../src/scope-state.js';
import { fieldsOf, PREFIX, type Dump } from './clocked-redis.js';
import type { QuotaModel } from '../../src/model/index.js';

function expectedRecord(state: LimitState): Record<string, unknown> {
  const { limit, lack, periodId: period, sinceMs, endsAtMs, held, used, overage } = state;
  if (limit.kind === 'rate') return { kind: 'rate', max: limit.max, windowMs: limit.windowMs, lack: Number(lack) };
  if (limit.kind === 'inFlight') return { kind: 'inFlight', held: Number(held) };
  const counts = { held: Number(held), used: Number(used), overage: Number(overage) };
  return { kind: 'quota', period, sinceMs, endsAtMs, ...counts };
}

function storedRecord({ code: _, ...record }: StoredRecord): Record<string, unknown> {
  return record.kind === 'quota' ? { ...record, period: periodId(record.period) } : record;
}

function storedScopes(fields: ReadonlyMap<string, Buffer>): Record<string, unknown> {
  const scopes: Record<string, unknown> = {};
  for (const [field, packed] of fields) {
    if (field !== 't' && !/^[km]:/.test(field)) continue;
    const { atMs, names, records } = readScope(packed, readNames(fields.get(`n:${field}`)));
    const byName = records.map((record, i) => [names[i] ?? '', storedRecord(record)] as const);
    scopes[field] = { atMs: names.length && atMs, ...Object.fromEntries(byName) };
  }
  return scopes;
}

function texts(dump: Dump, prefix: string): Record<string, string> {
  const found = [...dump].filter(([key]) => key.startsWith(prefix));
  return Object.fromEntries(
    found.map(([key, [, text = '']]) => [key.slice(prefix.length), Buffer.from(text, 'latin1').toString()]),
  );
}

function expectedTexts<T>(kept: ReadonlyMap<string, Expiring<T>>, nowMs: number, text: (value: T) => string) {
  const found = [...kept].flatMap(([name, one]) => {
    const value = alive(one, nowMs);
    return value === undefined ? [] : [[name, text(value)] as const];
  });
  return Object.fromEntries(found);
}

/** Redis keeps exactly what the model has of a tenant. */
export function expectSame(
  { dump, model, nowMs }: { readonly dump: Dump; readonly model: QuotaModel; readonly nowMs: number },
  tenantId: string,
): void {
  const key = (name: string) => `${PREFIX}:{${tenantId}}:${name}`;
  const fields = fieldsOf(dump, key('quota'));
  const tenant = model.kept(tenantId);
  // Whether it was loaded in this run is seen by what is answered.
  expect(fields.has('loaded')).toBe(tenant.loadedIn !== undefined);
  const expectedScopes = [...tenant.scopes].map(([field, { atMs, limits }]) => {
    const records = [...limits].map(([name, state]) => [name, expectedRecord(state)] as const);
    return [field, { atMs: limits.size && atMs, ...Object.fromEntries(records) }];
  });
  expect(storedScopes(fields)).toEqual(Object.fromEntries(expectedScopes));

  const holds = [...fields].flatMap(([field, text]) =>
    field.startsWith('h:') ? [[field.slice(2), text.toString()] as const] : [],
  );
  const expectedHolds = [...tenant.holds].map(([jobId, hold]) => {
    const { owner, keyHash, apiKeyId, model: name, amounts, learns, madeAtMs } = hold;
    const numbers = `${amounts.tokens} ${amounts.nanoUsd} ${learns ? 1 : 0} ${madeAtMs}`;
    return [jobId, `${owner}\n${keyHash}\n${apiKeyId}\n${name}\n${numbers}`];
  });
  expect(Object.fromEntries(holds)).toEqual(Object.fromEntries(expectedHolds));

  const [, ...expiries] = dump.get(key('expiries')) ?? [];
  const found = expiries.flatMap((jobId, i) =>
    i % 2 === 0 ? [[Buffer.from(jobId, 'latin1').toString(), expiries[i + 1]]] : [],
  );
  const expected = [...tenant.holds].map(([jobId, { expiresAtMs }]) => [jobId, String(expiresAtMs)]);
  expect(Object.fromEntries(found)).toEqual(Object.fromEntries(expected));

  const jobs = expectedTexts(tenant.jobs, nowMs, ({ state, facts }) => `${state}\n${facts}`);
  expect(texts(dump, key('job:'))).toEqual(jobs);
  const keys = expectedTexts(tenant.keys, nowMs, ({ jobId, fingerprint }) => `${jobId}\n${fingerprint}`);
  expect(texts(dump, key('idem:'))).toEqual(keys);

  const load = alive(tenant.load, nowMs);
  const notes = [...(load?.notes ?? [])].map(([jobId, used]) => [`n:${jobId}`, `${used.tokens} ${used.nanoUsd}`]);
  const storedNotes = [...fieldsOf(dump, key('load'))].flatMap(([field, text]) =>
    field.startsWith('n:') ? [[field, text.toString()] as const] : [],
  );
  expect(dump.has(key('load'))).toBe(load !== undefined);
  expect(Object.fromEntries(storedNotes)).toEqual(Object.fromEntries(notes));
}
