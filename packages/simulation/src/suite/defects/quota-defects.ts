import type { Quota } from '@sluice/quota';
import type { QuotaModel } from '@sluice/quota/model';
import type { Sabotage } from './sabotage.js';

type Kept = ReturnType<QuotaModel['kept']>;
type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/** Replaces methods of the quota as the programs of one kind have it. */
function ofQuota(kind: 'gateway' | 'collector', change: (quota: Quota) => Partial<Quota>): Sabotage {
  return {
    servers: (servers, whose) =>
      whose === kind ? { ...servers, quota: { ...servers.quota, ...change(servers.quota) } } : servers,
  };
}

/** Books tokens as used on every quota of a tenant, as a settlement would that does not ask whether it was made before. */
function bookOnceMore(kept: Kept, tokens: number): void {
  for (const [field, scope] of kept.scopes) {
    const limits = [...scope.limits].map(([name, state]) => {
      const counts = state.limit.kind === 'quota' && state.limit.unit === 'tokens';
      return [name, counts ? { ...state, used: state.used + BigInt(tokens) } : state] as const;
    });
    kept.scopes.set(field, { ...scope, limits: new Map(limits) });
  }
}

function settlesTwice(model: QuotaModel): QuotaModel {
  return {
    ...model,
    settle(nowMs, settlement) {
      const outcome = model.settle(nowMs, settlement);
      if (outcome === 'missing') bookOnceMore(model.kept(settlement.tenantId), settlement.tokens);
      return outcome;
    },
  };
}

/** A restart goes unnoticed: what is loaded stays loaded, however old the data. */
function trustsOldData(model: QuotaModel, tenantIds: () => readonly string[]): QuotaModel {
  let restarts = 0;
  return {
    ...model,
    restart(image) {
      model.restart(image);
      restarts += 1;
      for (const tenantId of tenantIds()) {
        const kept = model.kept(tenantId) as Mutable<Kept>;
        if (kept.loadedIn !== undefined) kept.loadedIn = restarts;
      }
    },
  };
}

export const QUOTA_DEFECTS: Readonly<Record<string, Sabotage>> = {
  'settlement-books-again': { quota: settlesTwice },
  'restart-goes-unnoticed': { quota: (model) => trustsOldData(model, () => model.tenants('0').tenantIds) },
  'release-ignores-the-owner': ofQuota('gateway', (quota) => ({ release: (hold) => quota.dropHold(hold) })),
  'reserve-ignores-the-key': ofQuota('gateway', (quota) => ({
    reserve: ({ idempotency: _key, ...reservation }) => quota.reserve(reservation),
  })),
  'reserve-ignores-the-limits': ofQuota('gateway', (quota) => ({
    reserve: (reservation) => quota.reserve({ ...reservation, scopes: [] }),
  })),
  'load-forgets-open-jobs': ofQuota('gateway', (quota) => ({
    load: (facts) => quota.load({ ...facts, openHolds: [] }),
  })),
  'load-forgets-use': ofQuota('gateway', (quota) => ({ load: (facts) => quota.load({ ...facts, posted: [] }) })),
  'settlement-is-forgotten': ofQuota('collector', () => ({
    settle: (settlements) => Promise.resolve(settlements.map(() => 'settled' as const)),
    dropHold: () => Promise.resolve(true),
    unload: () => Promise.resolve(),
  })),
};
