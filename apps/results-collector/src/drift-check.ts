import type { Quota } from '@sluice/quota';
import type { Logger } from '@sluice/runtime';
import type { Store } from '@sluice/store';
import { lookForDrift } from './drift-look.js';
import type { TenantDrift } from './drift.js';
import { isDamage } from './settlement.js';
import { createStrayHolds } from './stray-holds.js';

/** Tenants looked at in one run; the next goes on from there. */
const MAX_TENANTS = 1_000;
/** Jobs of a tenant that are remembered until the next look. */
const MAX_REMEMBERED = 1_000;
/** Pages begin and end with it. */
const FIRST = '0';

export interface DriftCheckOptions {
  readonly store: Pick<Store, 'quotaFacts' | 'terminalFacts'>;
  readonly quota: Pick<Quota, 'inspect' | 'tenants' | 'unload'>;
  /** Resolves when everything that was published before is recorded; see the decision about the fence. */
  readonly passFence: () => Promise<void>;
  /** Hears after every run how far Redis is from the books: the tenants with drift, and nobody else. */
  readonly onDrift: (drifts: ReadonlyMap<string, TenantDrift>) => void;
  readonly onRepair: (tenantId: string) => void;
  /** The clock of Redis (Unix milliseconds). */
  readonly redisNowMs: () => Promise<number>;
  readonly logger: Logger;
}

export interface DriftCheck {
  /**
   * Compares Redis with the books for the next tenants. One that differs twice in a row in the same way is unloaded,
   * so that its next job loads it exactly; so is one with holds of jobs that will never be in the books. Rejects when a
   * server fails.
   */
  check(signal: AbortSignal): Promise<void>;
}

/** Looks for tenants whose state in Redis is not what the books say. Several collectors may look at the same time. */
export function createDriftCheck(options: DriftCheckOptions): DriftCheck {
  const { store, quota, onDrift, onRepair, passFence, redisNowMs, logger } = options;
  const strayHolds = createStrayHolds({ store, quota, passFence, logger });
  const drifts = new Map<string, TenantDrift>();
  /** By tenant, what the last look found. */
  const suspicions = new Map<string, ReadonlySet<string>>();
  let cursor = FIRST;

  /** Notes what a look found. True when some of it was found the last time, too. */
  function note(tenantId: string, found: TenantDrift | undefined): boolean {
    const marks = found === undefined ? [] : marksOf(found).slice(0, MAX_REMEMBERED);
    const earlier = suspicions.get(tenantId);
    suspicions.delete(tenantId);
    drifts.delete(tenantId);
    if (found === undefined || marks.length === 0) return false;
    suspicions.set(tenantId, new Set(marks));
    const leaked = found.leaked.filter((jobId) => earlier?.has(leakMark(jobId)));
    const { limits, missing } = found;
    const certain = { limits, missing, leaked };
    if (marksOf(certain).length > 0) drifts.set(tenantId, certain);
    return marks.some((mark) => earlier?.has(mark));
  }

  async function repair(tenantId: string): Promise<void> {
    await quota.unload(tenantId);
    suspicions.delete(tenantId);
    onRepair(tenantId);
    logger.warn({ tenantId }, 'the drift stays, the tenant will be loaded again');
  }

  function tell(tenantId: string, { limits, missing, leaked }: TenantDrift): void {
    const jobs = { missing: missing.slice(0, 10), leaked: leaked.slice(0, 10) };
    const counts = { missingHolds: missing.length, leakedHolds: leaked.length };
    logger.warn({ tenantId, limits, ...counts, ...jobs }, 'Redis differs from the books');
  }

  async function checkTenant(tenantId: string): Promise<void> {
    const found = await lookForDrift({ store, quota, redisNowMs }, tenantId);
    const again = note(tenantId, found);
    strayHolds.note(tenantId, again ? [] : (found?.unknown ?? []));
    const drift = drifts.get(tenantId);
    if (drift) tell(tenantId, drift);
    if (again) await repair(tenantId);
  }

  /** One fence for the strays of all tenants. */
  async function checkStrays(): Promise<void> {
    for (const [tenantId, strays] of await strayHolds.confirm()) {
      const { limits, missing, leaked } = drifts.get(tenantId) ?? NO_DRIFT;
      const drift = { limits, missing, leaked: [...leaked, ...strays] };
      drifts.set(tenantId, drift);
      tell(tenantId, drift);
      await repair(tenantId);
    }
  }

  /** What cannot be read is loaded anew by the next job, exactly, unless Redis does not let go of it either. */
  async function discard(tenantId: string, cause: unknown): Promise<void> {
    logger.error({ err: cause, tenantId }, 'the keys of a tenant cannot be read');
    try {
      await quota.unload(tenantId);
      onRepair(tenantId);
    } catch (error) {
      if (!isDamage(error)) throw error;
    }
  }

  /** n.b. a tenant may be in several pages: two looks in a row must be in two runs. */
  async function checkPage(looked: Set<string>, signal: AbortSignal): Promise<void> {
    const page = await quota.tenants(cursor);
    for (const tenantId of page.tenantIds) {
      if (signal.aborted) return;
      if (looked.has(tenantId)) continue;
      looked.add(tenantId);
      try {
        await checkTenant(tenantId);
      } catch (error) {
        if (!isDamage(error)) throw error;
        await discard(tenantId, error);
      }
    }
    cursor = page.cursor;
  }

  return {
    async check(signal) {
      try {
        const looked = new Set<string>();
        do await checkPage(looked, signal);
        while (cursor !== FIRST && looked.size < MAX_TENANTS && !signal.aborted);
        if (!signal.aborted) await checkStrays();
      } finally {
        onDrift(drifts);
      }
    },
  };
}

const NO_DRIFT: TenantDrift = { limits: [], missing: [], leaked: [] };

function marksOf({ limits, missing, leaked }: TenantDrift): readonly string[] {
  return [
    ...limits.map(({ scope, subject, limit }) => `limit ${scope} ${subject} ${limit}`),
    ...missing.map((jobId) => `missing ${jobId}`),
    ...leaked.map(leakMark),
  ];
}

function leakMark(jobId: string): string {
  return `leaked ${jobId}`;
}
