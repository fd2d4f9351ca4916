import type { Store } from '@sluice/store';
import type { Sabotage } from './sabotage.js';

function ofStore(kind: 'gateway' | 'collector', change: (store: Store) => Partial<Store>): Sabotage {
  return {
    servers: (servers, whose) =>
      whose === kind ? { ...servers, store: { ...servers.store, ...change(servers.store) } } : servers,
  };
}

/** What `recordFacts` says before anything is recorded. */
function recordsLater(store: Store): Partial<Store> {
  return {
    async recordFacts(facts) {
      store.recordFacts(facts).catch(() => undefined);
      return { newlyAccepted: new Set(), newlyCompleted: new Map() };
    },
  };
}

export const STORE_DEFECTS: Readonly<Record<string, Sabotage>> = {
  'ledger-without-key': { withoutLedgerKey: true },
  'bills-at-the-first-price': { withoutPriceChanges: true },
  'collector-acknowledges-before-it-records': ofStore('collector', recordsLater),
  'records-forget-keys': ofStore('gateway', () => ({
    findJobByKey: () => Promise.resolve(undefined),
    recentKeys: () => Promise.resolve({ keys: [], sinceMs: 0 }),
  })),
};
