import type { LoadTicket, Quota, ScopedLimits } from '@sluice/quota';
import { delay } from '@sluice/runtime';

export interface LoadTurnOptions {
  readonly quota: Pick<Quota, 'beginLoad' | 'keepLoad' | 'leaveLoad'>;
}

/** Lets one gateway at a time load a tenant, while the others wait for it. */
export interface LoadTurn {
  /**
   * Begins to load a tenant when it is this gateway's turn. Undefined when the tenant is loaded and knows `limits`, perhaps
   * after another gateway's load. Rejects when others have been loading it for half a minute.
   */
  begin(tenantId: string, limits: () => readonly ScopedLimits[]): Promise<LoadTicket | undefined>;
  /** Does the work of a load, keeping the others waiting, and gives the turn to them when it fails. */
  during<T>(ticket: LoadTicket, work: () => Promise<T>): Promise<T>;
}

/** Waits grow with the time that has passed, so a long load of many tenants is not asked about all the time. */
const FIRST_WAIT_MS = 10;
const LONGEST_WAIT_MS = 500;
const GROWTH = 1.5;
const MAX_WAIT_MS = 30_000;
/** A load that gives no sign for two seconds is taken for dead. */
const SIGN_EVERY_MS = 400;

export function createLoadTurn({ quota }: LoadTurnOptions): LoadTurn {
  return {
    async begin(tenantId, limits) {
      const giveUpMs = performance.now() + MAX_WAIT_MS;
      for (let waitMs = FIRST_WAIT_MS; performance.now() < giveUpMs; waitMs = longer(waitMs)) {
        const begun = await quota.beginLoad(tenantId, limits());
        if (begun === 'loaded') return undefined;
        if (begun !== 'busy') return begun;
        await delay(waitMs * (0.5 + Math.random()));
      }
      throw new Error(`others have been loading tenant ${tenantId} for ${MAX_WAIT_MS} ms`);
    },

    async during(ticket, work) {
      // A sign that is lost changes nothing as long as the next one comes; a load that was superseded ends by itself.
      const signs = setInterval(() => void quota.keepLoad(ticket).catch(() => undefined), SIGN_EVERY_MS);
      try {
        return await work();
      } catch (error) {
        await quota.leaveLoad(ticket).catch(() => undefined);
        throw error;
      } finally {
        clearInterval(signs);
      }
    },
  };
}

function longer(waitMs: number): number {
  return Math.min(LONGEST_WAIT_MS, waitMs * GROWTH);
}
