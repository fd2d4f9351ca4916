import type { LimitScope } from '@sluice/contracts';
import type { Limit, LoadedKeys, OpenHold, Posted, Quota, Reservation, ScopedLimits } from '../src/index.js';

export const DAY_MS = 86_400_000;
export const API_KEY = 'key-1';
export const MODEL = 'model-1';

/** A period that does not end within the test. */
export function longPeriod() {
  const startsAtMs = Date.now() - DAY_MS;
  const [endsAtMs, nextEndsAtMs] = [startsAtMs + 2 * DAY_MS, startsAtMs + 3 * DAY_MS];
  return { id: '2026-01-01', startsAtMs, endsAtMs, nextId: '2026-01-02', nextEndsAtMs };
}

export function quotaLimit(max: number, fields: Partial<Limit> = {}): Limit {
  return { name: 'quota', kind: 'quota', unit: 'tokens', max, period: longPeriod(), ...fields };
}

export function rateLimit(max: number, fields: Partial<Limit> = {}): Limit {
  return { name: 'rate', kind: 'rate', unit: 'tokens', max, windowMs: DAY_MS, ...fields };
}

export function inFlightLimit(max: number, fields: Partial<Limit> = {}): Limit {
  return { name: 'in-flight', kind: 'inFlight', unit: 'requests', max, ...fields };
}

export function onTenant(...limits: Limit[]): readonly ScopedLimits[] {
  return [{ scope: 'tenant', subject: '', limits }];
}

export function onScope(scope: LimitScope, subject: string, ...limits: Limit[]): ScopedLimits {
  return { scope, subject, limits };
}

/** A tenant whose records say that nothing was used; loads it. */
export async function openTenant(quota: Quota, tenantId: string, scopes: readonly ScopedLimits[]) {
  await loadTenant(quota, tenantId, scopes);
  const reserve = (fields: Partial<Reservation> = {}) => quota.reserve(reservation(tenantId, scopes, fields));
  const settle = (jobId: string, tokens: number, nanoUsd = 0, outputTokens = 0) =>
    quota.settle([{ tenantId, jobId, tokens, nanoUsd, outputTokens, state: 'succeeded' }]);
  return { tenantId, scopes, reserve, settle, status: () => quota.status(tenantId, scopes) };
}

let jobs = 0;
export function reservation(
  tenantId: string,
  scopes: readonly ScopedLimits[],
  fields: Partial<Reservation> = {},
): Reservation {
  return {
    ...{ tenantId, jobId: `job-${jobs++}`, owner: 'gateway', apiKeyId: API_KEY, model: MODEL, scopes },
    ...{ amounts: { tokens: 1, nanoUsd: 0 }, holdTtlMs: 60_000, facts: '{}' },
    ...fields,
  };
}

export interface Facts {
  readonly cover?: readonly string[];
  readonly posted?: readonly Posted[];
  readonly openHolds?: readonly OpenHold[];
  readonly keys?: LoadedKeys;
}

/** Loads a tenant; without facts as one that never used anything. */
export async function loadTenant(
  quota: Quota,
  tenantId: string,
  scopes: readonly ScopedLimits[],
  { posted = [], openHolds = [], cover = namesOf(scopes), ...rest }: Facts = {},
): Promise<'loaded' | 'superseded'> {
  const ticket = await quota.beginLoad(tenantId);
  const used = posted.length + openHolds.length > 0 ? scopes : [];
  return quota.load({ ticket, scopes: used, cover, posted, openHolds, ...rest });
}

export function namesOf(scopes: readonly ScopedLimits[]): readonly string[] {
  return scopes.flatMap(({ limits }) => limits.map(({ name }) => name));
}

export function openHold(jobId: string, fields: Partial<OpenHold> = {}): OpenHold {
  const acceptedAtMs = Date.now();
  return {
    ...{ jobId, apiKeyId: API_KEY, model: MODEL, amounts: { tokens: 1, nanoUsd: 0 } },
    ...{ acceptedAtMs, expiresAtMs: acceptedAtMs + 60_000 },
    ...fields,
  };
}
