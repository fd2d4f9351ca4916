import type { Amounts, Load, LoadedKeys, OpenHold, Posted, ScopedLimits } from '../../src/index.js';
import { scopeField } from '../../src/scope-state.js';
import { scopesAt } from './plans.js';

/** n.b. keys expire by the true clock: no sum of `JUMP_MS` comes near to what lives so long. */
export const JUMP_MS = 22_000;
export const KEY_TTL_MS = 1_202_000;
export const HOLD_TTL_MS = 589_000;
export const SNAPSHOT_TTL_MS = 3_597_000;
/** Restored keys do not expire within a test. */
const NEVER_MS = 100_000_000_000_000;

export interface LedgerJob {
  readonly apiKeyId: string;
  readonly model: string;
  readonly amounts: Amounts;
  readonly acceptedAtMs: number;
  readonly expiresAtMs: number;
  readonly idempotency?: { readonly keyHash: string; readonly fingerprint: string };
  /** When it is settled. */
  readonly used?: Amounts;
}

/** The accepted jobs of a tenant by id, as the records have them. */
export type Ledger = ReadonlyMap<string, LedgerJob>;

/** Every scope that jobs may have. */
export function allScopes(plan: number, nowMs: number): readonly ScopedLimits[] {
  const all = ['k1', 'k2'].flatMap((k) => ['m1', 'm2'].flatMap((m) => scopesAt(plan, nowMs, k, m)));
  return [...new Map(all.map((scoped) => [scopeField(scoped.scope, scoped.subject), scoped])).values()];
}

/** What the records say at `nowMs`, under the limits of a plan. */
export function factsOf(ledger: Ledger, plan: number, nowMs: number): Omit<Load, 'ticket'> {
  const scopes = allScopes(plan, nowMs);
  const openHolds = [...ledger].flatMap(([jobId, { used, ...job }]): OpenHold[] => (used ? [] : [{ jobId, ...job }]));
  const cover = scopes.flatMap(({ limits }) => limits.map(({ name }) => name));
  return { scopes, cover, posted: scopes.flatMap((scoped) => postedOf(ledger, scoped, nowMs)), openHolds };
}

function postedOf(ledger: Ledger, { scope, subject, limits }: ScopedLimits, nowMs: number): readonly Posted[] {
  const field = scopeField(scope, subject);
  return limits.flatMap(({ name, unit, kind, period, windowMs = 0 }): Posted[] => {
    if (kind === 'inFlight') return [];
    const sinceMs = period?.startsAtMs ?? nowMs - windowMs;
    const of = (amounts: Amounts): number => (unit === 'requests' ? 1 : amounts[unit]);
    let [used, overage] = [0, 0];
    for (const job of ledger.values()) {
      const isIn = ['t', `k:${job.apiKeyId}`, `m:${job.model}`].includes(field) && job.acceptedAtMs >= sinceMs;
      if (!isIn || (kind === 'quota' && !job.used)) continue;
      used += of(job.used ?? job.amounts);
      overage += kind === 'quota' ? Math.max(0, of(job.used ?? job.amounts) - of(job.amounts)) : 0;
    }
    return [{ scope, subject, name, used, overage }];
  });
}

/** Idempotency keys of the records, newest first: none, the newest `count` or all of them. */
export function keysOf(ledger: Ledger, count: number, nowMs: number): LoadedKeys {
  const jobs = [...ledger].reverse().flatMap(([jobId, { idempotency, acceptedAtMs }]) => {
    return idempotency ? [{ ...idempotency, jobId, acceptedAtMs, expiresAtMs: NEVER_MS }] : [];
  });
  const entries = jobs.slice(0, count);
  return { entries, sinceMs: count >= jobs.length ? 0 : (entries.at(-1)?.acceptedAtMs ?? nowMs) + 1 };
}
