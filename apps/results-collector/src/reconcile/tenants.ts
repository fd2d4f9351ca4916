import type { Quota } from '@sluice/quota';
import { delay } from '@sluice/runtime';
import { lookForDrift, type DriftLookOptions } from '../drift-look.js';
import type { TenantDrift } from '../drift.js';
import { isDamage } from '../settlement.js';

/** Between two looks at a tenant that differs: what was on its way has arrived, in milliseconds. */
const SECOND_LOOK_AFTER_MS = 2_000;
const FIRST = '0';

export interface ReconcileOptions extends DriftLookOptions {
  readonly quota: Pick<Quota, 'inspect' | 'tenants'>;
}

/** What differs between Redis and the books of a tenant. */
export interface TenantReport extends TenantDrift {
  readonly tenantId: string;
}

export interface Reconciled {
  /** Tenants that Redis has loaded. */
  readonly loaded: number;
  /** Those of them that differ. */
  readonly drifts: readonly TenantReport[];
  /** Those whose keys cannot be read. */
  readonly unreadable: readonly string[];
}

/** Compares all tenants. A tenant that differs is looked at again: what differs for a moment is no drift. */
export async function reconcileTenants(options: ReconcileOptions): Promise<Reconciled> {
  const drifts: TenantReport[] = [];
  const unreadable: string[] = [];
  let loaded = 0;
  for (const tenantId of await allTenants(options.quota)) {
    try {
      const found = await lookTwice(options, tenantId);
      if (found === undefined) continue;
      loaded += 1;
      if (differs(found)) drifts.push({ tenantId, ...found });
    } catch (error) {
      if (!isDamage(error)) throw error;
      unreadable.push(tenantId);
    }
  }
  return { loaded, drifts, unreadable };
}

/** What differs at both of two looks; undefined for a tenant that is not loaded. */
async function lookTwice(options: ReconcileOptions, tenantId: string): Promise<TenantDrift | undefined> {
  const first = await lookForDrift(options, tenantId);
  if (first === undefined || !differs(first)) return first;
  await delay(SECOND_LOOK_AFTER_MS);
  const second = await lookForDrift(options, tenantId);
  return second && both(first, second);
}

async function allTenants(quota: Pick<Quota, 'tenants'>): Promise<ReadonlySet<string>> {
  const tenants = new Set<string>();
  let cursor = FIRST;
  do {
    const page = await quota.tenants(cursor);
    for (const tenantId of page.tenantIds) tenants.add(tenantId);
    cursor = page.cursor;
  } while (cursor !== FIRST);
  return new Set([...tenants].sort());
}

/** What the second look found of what the first did. */
function both(first: TenantDrift, second: TenantDrift): TenantDrift {
  const keyOf = ({ scope, subject, limit }: TenantDrift['limits'][number]): string => `${scope} ${subject} ${limit}`;
  const before = new Set(first.limits.map(keyOf));
  return {
    limits: second.limits.filter((drift) => before.has(keyOf(drift))),
    missing: second.missing.filter((jobId) => first.missing.includes(jobId)),
    leaked: second.leaked.filter((jobId) => first.leaked.includes(jobId)),
  };
}

function differs({ limits, missing, leaked }: TenantDrift): boolean {
  return limits.length + missing.length + leaked.length > 0;
}
