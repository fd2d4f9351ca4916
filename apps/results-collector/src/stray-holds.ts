import type { Quota } from '@sluice/quota';
import type { Logger } from '@sluice/runtime';
import type { Store } from '@sluice/store';

/** Holds of a tenant that are remembered until the next look. */
const MAX_REMEMBERED = 1_000;

export interface StrayHoldsOptions {
  readonly store: Pick<Store, 'terminalFacts'>;
  readonly quota: Pick<Quota, 'inspect'>;
  /** Resolves when everything that was published before is recorded; see the decision about the fence. */
  readonly passFence: () => Promise<void>;
  readonly logger: Logger;
}

/** Holds whose jobs are in no books and in no queue. */
export interface StrayHolds {
  /** Takes what a look at a tenant found: jobs that are held and that the books do not know. */
  note(tenantId: string, unknown: readonly string[]): void;
  /**
   * Of the jobs that two looks in a row did not know, those that are held and unknown behind a fence, too, by tenant:
   * they will never be published. Empty when the fence does not pass. Rejects when another server fails.
   */
  confirm(): Promise<ReadonlyMap<string, readonly string[]>>;
}

/**
 * Finds holds whose gateway died before it published. The sweep finds them as well, by the time at which they expire; not
 * so one whose expiry Redis has lost, and that one would be held for ever.
 */
export function createStrayHolds({ store, quota, passFence, logger }: StrayHoldsOptions): StrayHolds {
  /** By tenant, what its last look did not know. */
  const unknownBefore = new Map<string, ReadonlySet<string>>();
  const candidates = new Map<string, readonly string[]>();

  async function stillStray(tenantId: string, jobIds: readonly string[]): Promise<readonly string[]> {
    const known = await store.terminalFacts(jobIds);
    const state = await quota.inspect(tenantId);
    return jobIds.filter((jobId) => !known.has(jobId) && state?.holds.has(jobId) === true);
  }

  /** n.b. facts that have been on their way for long hold up the fence, and the holds of their jobs are no strays. */
  async function fencePassed(): Promise<boolean> {
    try {
      await passFence();
      return true;
    } catch (error) {
      logger.warn({ err: error, tenants: candidates.size }, 'it is not known whether holds of unknown jobs are leaked');
      return false;
    }
  }

  return {
    note(tenantId, unknown) {
      const earlier = unknownBefore.get(tenantId);
      unknownBefore.delete(tenantId);
      candidates.delete(tenantId);
      if (unknown.length === 0) return;
      unknownBefore.set(tenantId, new Set(unknown.slice(0, MAX_REMEMBERED)));
      const again = unknown.filter((jobId) => earlier?.has(jobId));
      if (again.length > 0) candidates.set(tenantId, again);
    },
    async confirm() {
      const strays = new Map<string, readonly string[]>();
      if (candidates.size === 0 || !(await fencePassed())) return strays;
      for (const [tenantId, jobIds] of candidates) {
        candidates.delete(tenantId);
        const found = await stillStray(tenantId, jobIds);
        if (found.length > 0) strays.set(tenantId, found);
      }
      return strays;
    },
  };
}
