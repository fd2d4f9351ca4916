import type { LimitUnit } from '@sluice/contracts';
import { ceilingOf, definitionsOf } from './definitions.js';
import type { Limit, ScopedLimits } from './limits.js';
import { periodNumber } from './periods.js';
import type { Load, LoadedKey, OpenHold, Posted } from './quota.js';
import { codeOf, packScope, scopeField, type PackedLimit, type StoredRecord } from './scope-state.js';
import { checkAmounts, checkCount, checkText } from './values.js';

/** What one call of `stage` is given. */
export interface LoadPart {
  /** How many of the rows are scopes: field, packed scope and names. The others are holds: job id, hold and expiry. */
  readonly scopes: number;
  readonly rows: readonly (string | number | Buffer)[];
}

export interface LoadPlan {
  readonly parts: readonly LoadPart[];
  /** Fields that all parts together stage, and how many of them are holds. */
  readonly fields: number;
  readonly holds: number;
  /** The time that lies in every period that the facts are of (Unix milliseconds). */
  readonly startsAtMs: number;
  readonly endsAtMs: number;
}

/** Rows of a part, so that no call of Redis takes more than some milliseconds. */
const SCOPES_PER_PART = 500;
const HOLDS_PER_PART = 1_000;
const FAR_FUTURE_MS = 8_640_000_000_000_000;

/** Lays out the new state of a tenant. Throws a RangeError for what cannot be kept exactly. */
export function planLoad({ scopes, posted, openHolds, keys }: Load): LoadPlan {
  openHolds.forEach(checkHold);
  keys?.entries.forEach(checkKey);
  if (keys) checkCount('sinceMs', keys.sinceMs);
  const byField = scopesWithSubjects(scopes, posted, openHolds);
  addPosted(byField, posted);
  // n.b. a job that is named twice is one hold.
  const holds = new Map(openHolds.map((hold) => [hold.jobId, hold]));
  for (const hold of holds.values()) {
    for (const field of fieldsOf(hold)) addHold(byField.get(field) ?? EMPTY, hold);
  }
  const scopeRows = [...byField].map(([field, scope]) => [field, packed(scope), namesText(scope.limits)]);
  const periods = scopes.flatMap(({ limits }) => limits.flatMap(({ period }) => period ?? []));
  const endsAtMs = Math.min(FAR_FUTURE_MS, ...periods.map((period) => period.endsAtMs));
  const holdRows = [...holds.values()].map((hold) => [hold.jobId, holdText(hold, endsAtMs), hold.expiresAtMs]);
  return {
    parts: [
      ...chunks(scopeRows, SCOPES_PER_PART).map((rows) => ({ scopes: rows.length, rows: rows.flat() })),
      ...chunks(holdRows, HOLDS_PER_PART).map((rows) => ({ scopes: 0, rows: rows.flat() })),
    ],
    fields: 2 * scopeRows.length + holdRows.length,
    holds: holdRows.length,
    startsAtMs: Math.max(0, ...periods.map(({ startsAtMs }) => startsAtMs)),
    endsAtMs,
  };
}

/** A limit while its use is summed up. */
interface Counter {
  readonly limit: Limit;
  used: number;
  held: number;
  overage: number;
}
interface Scope {
  readonly limits: readonly Limit[];
  readonly counters: readonly Counter[];
}
const EMPTY: Scope = { limits: [], counters: [] };

/**
 * Every subject that is named anywhere gets a scope, if an empty one: an absent scope means that nothing of it was used.
 */
function scopesWithSubjects(
  scopes: readonly ScopedLimits[],
  posted: readonly Posted[],
  openHolds: readonly OpenHold[],
): ReadonlyMap<string, Scope> {
  const byField = new Map<string, Scope>();
  for (const { scope, subject } of posted) byField.set(scopeField(scope, subject), EMPTY);
  for (const field of openHolds.flatMap(fieldsOf)) byField.set(field, EMPTY);
  for (const { scope, subject, limits } of scopes) {
    const counters = limits.map((limit) => ({ limit, used: 0, held: 0, overage: 0 }));
    byField.set(scopeField(scope, subject), { limits, counters });
  }
  return byField;
}

function fieldsOf({ apiKeyId, model }: OpenHold): readonly string[] {
  return ['t', scopeField('apiKey', apiKeyId), scopeField('model', model)];
}

function addPosted(byField: ReadonlyMap<string, Scope>, posted: readonly Posted[]): void {
  for (const { scope, subject, name, used, overage } of posted) {
    checkCount('used', used);
    checkCount('overage', overage);
    const counter = byField.get(scopeField(scope, subject))?.counters.find(({ limit }) => limit.name === name);
    if (counter) Object.assign(counter, { used, overage });
  }
}

function addHold({ counters }: Scope, { amounts, acceptedAtMs }: OpenHold): void {
  const held: Readonly<Record<LimitUnit, number>> = { requests: 1, ...amounts };
  for (const counter of counters) {
    const { kind, unit, period } = counter.limit;
    const counts = kind === 'inFlight' || (period !== undefined && acceptedAtMs >= period.startsAtMs);
    if (counts) counter.held += held[unit];
  }
}

function packed({ limits, counters }: Scope): Buffer {
  return packScope(definitionsOf(limits).version, counters.map(packedLimit));
}

/** The names of a scope's limits as they are kept. */
function namesText(limits: readonly Limit[]): string {
  return limits.map(({ name }) => name).join(' ');
}

function packedLimit({ limit, used, held, overage }: Counter): PackedLimit {
  const { kind, unit, max, windowMs = 1, period } = limit;
  const code = codeOf(kind, unit);
  const records: Readonly<Record<Limit['kind'], StoredRecord>> = {
    rate: { code, kind: 'rate', max, windowMs, lack: used * windowMs },
    quota: {
      ...{ code, kind: 'quota', held, used, overage },
      ...{ period: periodNumber(period?.id ?? '0'), sinceMs: period?.startsAtMs ?? 0, endsAtMs: period?.endsAtMs ?? 0 },
    },
    inFlight: { code, kind: 'inFlight', held },
  };
  return { ceiling: ceilingOf(limit), record: records[kind] };
}

/**
 * A hold as `lua/scope-state.lua` describes it; nobody owns it until its job is reserved again. It is held in the periods
 * of the load and in no later one: where Redis' clock was set back, a job may be of a period that has not begun, whose
 * counters will begin without it, and its end must not take from them what they never held.
 */
function holdText({ apiKeyId, model, amounts, acceptedAtMs }: OpenHold, endsAtMs: number): string {
  const madeAtMs = Math.min(acceptedAtMs, endsAtMs - 1);
  return `\n\n${apiKeyId}\n${model}\n${amounts.tokens} ${amounts.nanoUsd} 0 ${madeAtMs}`;
}

function checkHold({ jobId, apiKeyId, model, amounts, acceptedAtMs, expiresAtMs }: OpenHold): void {
  checkText('jobId', jobId);
  checkText('apiKeyId', apiKeyId);
  checkText('model', model);
  checkAmounts(amounts);
  checkCount('acceptedAtMs', acceptedAtMs);
  checkCount('expiresAtMs', expiresAtMs);
}

function checkKey({ jobId, expiresAtMs }: LoadedKey): void {
  checkText('jobId', jobId);
  checkCount('expiresAtMs', expiresAtMs);
}

function chunks<T>(rows: readonly T[], size: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(rows.length / size) }, (_, i) => rows.slice(i * size, (i + 1) * size));
}
