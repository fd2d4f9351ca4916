import type { Amounts } from '../../src/index.js';
import { readNames, readScope, type StoredRecord } from '../../src/scope-state.js';
import { readHold } from '../../src/tenant-state.js';
import { fieldsOf, PREFIX, type Dump } from './clocked-redis.js';
import { largestMax } from './plans.js';

/*
 * What always holds, seen from what Redis keeps before and after each command; nothing here knows the model.
 */

/** What happened between two dumps. */
export type Event =
  /** Consumed nothing, so nothing at all may differ. */
  | { readonly kind: 'nothing'; readonly tenantId: string }
  /** A job was admitted under limits of these maxima (by name; those of soft limits are infinite). */
  | { readonly kind: 'reserved'; readonly tenantId: string; readonly jobId: string; readonly maxima: Maxima }
  | { readonly kind: 'ended'; readonly tenantId: string; readonly jobId: string }
  /** The tenant is not loaded from now on. */
  | { readonly kind: 'unloaded'; readonly tenantId: string }
  /** Holds and limits stay as they are, whatever else of the tenant differs. */
  | { readonly kind: 'noted'; readonly tenantId: string }
  /** The state was set anew. */
  | { readonly kind: 'loaded'; readonly tenantId: string }
  /** Redis lost something, or was replaced. */
  | { readonly kind: 'lost' };
export type Maxima = Readonly<Record<string, number>>;

export interface Between {
  readonly before: Dump;
  readonly after: Dump;
  readonly event: Event;
  readonly nowMs: number;
  readonly tenants: readonly string[];
}

interface Kept {
  readonly atMs: number;
  readonly record: StoredRecord;
}

function fail(what: string, facts: unknown): never {
  throw new Error(`${what}: ${JSON.stringify(facts)}`);
}

function quotaFields(dump: Dump, tenantId: string): ReadonlyMap<string, Buffer> {
  return fieldsOf(dump, `${PREFIX}:{${tenantId}}:quota`);
}

/** Limits by field of their scope and name. */
function limitsOf(fields: ReadonlyMap<string, Buffer>): ReadonlyMap<string, Kept> {
  const limits = new Map<string, Kept>();
  for (const [field, packed] of fields) {
    if (field !== 't' && !/^[km]:/.test(field)) continue;
    const { atMs, names, records } = readScope(packed, readNames(fields.get(`n:${field}`)));
    records.forEach((record, i) => limits.set(`${field} ${names[i] ?? ''}`, { atMs, record }));
  }
  return limits;
}

function holdsOf(fields: ReadonlyMap<string, Buffer>) {
  const holds = [...fields].filter(([field]) => field.startsWith('h:'));
  return new Map(holds.map(([field, text]) => [field.slice(2), readHold(text.toString())]));
}

const UNITS = ['requests', 'tokens', 'nanoUsd'] as const;
function amountOf(code: number, amounts: Amounts): number {
  const unit = UNITS[(code - 1) % 3] ?? 'requests';
  return unit === 'requests' ? 1 : amounts[unit];
}

/** Throws when something that always holds does not. */
export function checkInvariants(between: Between): void {
  const { before, after, event, tenants } = between;
  for (const tenantId of tenants) {
    const isIts = event.kind === 'lost' || event.tenantId === tenantId;
    if (!isIts || event.kind === 'nothing') expectUntouched(before, after, tenantId);
    if (isIts) checkTenant(between, tenantId);
  }
}

/** No command touches another tenant, and a refusal changes nothing. */
function expectUntouched(before: Dump, after: Dump, tenantId: string): void {
  const own = (dump: Dump) => [...dump].filter(([key]) => key.startsWith(`${PREFIX}:{${tenantId}}:`)).sort();
  const [was, is] = [JSON.stringify(own(before)), JSON.stringify(own(after))];
  if (was !== is) fail('changed without a reason', { tenantId, was, is });
}

function checkTenant({ before, after, event, nowMs }: Between, tenantId: string): void {
  const [was, is] = [quotaFields(before, tenantId), quotaFields(after, tenantId)];
  const limits = limitsOf(is);
  if (event.kind === 'noted') expectSameHolds(was, is);
  if (!is.has('loaded')) return;
  expectHeldByHolds(limits, holdsOf(is));
  for (const [name, { record }] of limits) expectWithinMaximum(name, record);
  if (event.kind === 'reserved') expectAdmitted(limits, event.maxima, holdsOf(was).has(event.jobId));
  if (event.kind === 'lost' || event.kind === 'loaded') return;
  const ended = event.kind === 'ended' ? endedHold(was, is, event.jobId) : undefined;
  const tenantNowMs = Math.max(nowMs, ...[...limits.values()].map(({ atMs }) => (atMs - nowMs <= 2_000 ? atMs : 0)));
  for (const [name, kept] of limitsOf(was)) {
    const now = limits.get(name);
    if (now) expectSlowRefill(name, { was: kept, is: now, ended: ended?.amounts });
    expectPeriodOver(name, { was: kept.record, is: now?.record, nowMs: tenantNowMs });
  }
}

/** A hold ends once. */
function endedHold(was: ReadonlyMap<string, Buffer>, is: ReadonlyMap<string, Buffer>, jobId: string) {
  const hold = holdsOf(was).get(jobId);
  if (!hold || holdsOf(is).has(jobId)) fail('a hold ended that was not open, or is open still', { jobId, hold });
  return hold;
}

/** Only who owns a hold may differ. */
function expectSameHolds(was: ReadonlyMap<string, Buffer>, is: ReadonlyMap<string, Buffer>): void {
  const texts = (fields: ReadonlyMap<string, Buffer>) => {
    const limits = [...fields].filter(([field]) => !field.startsWith('h:')).sort();
    return JSON.stringify([
      limits.map(([field, text]) => [field, text.toString('latin1')]),
      [...holdsOf(fields)].sort(),
    ]);
  };
  if (texts(was) !== texts(is)) fail('holds or limits changed by a note', { was: texts(was), is: texts(is) });
}

/** What a limit holds is the sum of the open holds that count in it: each once, and none that has ended. */
function expectHeldByHolds(limits: ReadonlyMap<string, Kept>, holds: ReturnType<typeof holdsOf>): void {
  for (const [name, { record }] of limits) {
    if (record.kind === 'rate') continue;
    const [field = ''] = name.split(' ');
    const sinceMs = record.kind === 'quota' ? record.sinceMs : -Infinity;
    let held = 0;
    for (const { apiKeyId, model, amounts, acceptedAtMs } of holds.values()) {
      const counts = ['t', `k:${apiKeyId}`, `m:${model}`].includes(field) && acceptedAtMs >= sinceMs;
      if (counts) held += amountOf(record.code, amounts);
    }
    if (held !== record.held) fail('held is not the sum of the holds', { name, held, record });
  }
}

/** Beyond the largest maximum that any caller has named there is overage, and nothing else. */
function expectWithinMaximum(name: string, record: StoredRecord): void {
  if (record.kind === 'rate') return;
  const [used, overage] = record.kind === 'quota' ? [record.used, record.overage] : [0, 0];
  const max = largestMax(name.split(' ')[1] ?? '');
  if (used + record.held > max + overage) fail('used and held are above maximum and overage', { name, record, max });
  if (record.held < 0 || used < overage) fail('less than nothing', { name, record });
}

/** An admission leaves each hard limit within its maximum. */
function expectAdmitted(limits: ReadonlyMap<string, Kept>, maxima: Maxima, wasHeld: boolean): void {
  if (wasHeld) fail('held twice', { maxima });
  for (const [name, { record }] of limits) {
    const max = maxima[name];
    if (max === undefined) continue;
    if (record.kind === 'rate' && record.lack > max * record.windowMs) fail('a bucket in debt', { name, record });
    if (record.kind === 'quota' && record.used + record.held > max) fail('admitted beyond a quota', { name, record });
    if (record.kind === 'inFlight' && record.held > max) fail('too much in flight', { name, record });
  }
}

/** A bucket is given no more than time and the hold that ended give back. */
function expectSlowRefill(
  name: string,
  { was, is, ended }: { readonly was: Kept; readonly is: Kept; readonly ended: Amounts | undefined },
): void {
  if (was.record.kind !== 'rate' || is.record.kind !== 'rate') return;
  // Under another window whole units are kept, rounded up.
  const scale = is.record.windowMs / was.record.windowMs;
  const elapsedMs = Math.max(0, is.atMs - was.atMs);
  const back = ended ? amountOf(is.record.code, ended) * is.record.windowMs : 0;
  const least = Math.max(0, was.record.lack - elapsedMs * was.record.max) * scale - back;
  if (is.record.lack < least - 1e-3) fail('refilled faster than time passes', { name, was, is, ended });
}

/** Counters are dropped when their period is over, and not before. */
function expectPeriodOver(
  name: string,
  { was, is, nowMs }: { readonly was: StoredRecord; readonly is: StoredRecord | undefined; readonly nowMs: number },
): void {
  if (was.kind !== 'quota') return;
  const isSame = is?.kind === 'quota' && is.period === was.period;
  const isOver = nowMs >= was.endsAtMs;
  if (!isSame && !isOver) fail('a period was dropped before its end', { name, was, is, nowMs });
  if (isSame && is.used < was.used) fail('use was forgotten', { name, was, is });
  if (is?.kind === 'quota' && !isSame && is.sinceMs < was.endsAtMs) fail('periods overlap', { name, was, is });
}
