import type { Quota } from '@sluice/quota';
import type { Logger } from '@sluice/runtime';
import type { Fact, Store } from '@sluice/store';
import type { Accounting } from './accounting.js';
import { unusedCompletion } from './facts.js';
import { settlementOf, type Settler } from './settlement.js';

/** Holds looked at in one round. */
const PAGE = 500;
/** Rounds of one sweep; what is left over waits for the next. */
const MAX_ROUNDS = 20;

export interface SweeperOptions {
  readonly store: Pick<Store, 'expiredOpenHolds' | 'terminalFacts'>;
  readonly quota: Pick<Quota, 'expiredHolds' | 'dropHold'>;
  /** This and the settler must not wait for a server that is away: what a round found is out of date afterwards. */
  readonly accounting: Accounting;
  readonly settler: Settler;
  /** Asked before every round: false while facts may be on their way that PostgreSQL does not know yet. */
  readonly mayGoOn: () => boolean;
  /** The clock of Redis, by which holds expire (Unix milliseconds). */
  readonly redisNowMs: () => Promise<number>;
  /** How long a hold must have been expired before Redis is cleaned of it, in milliseconds. */
  readonly graceMs: number;
  /** Unix milliseconds. */
  readonly now: () => number;
  readonly logger: Logger;
}

/** What a sweep did, in jobs. */
export interface Sweep {
  /** Open in PostgreSQL and past their time: recorded as `expired`. */
  readonly expired: number;
  /** Ended in PostgreSQL, still held in Redis: settled. */
  readonly settled: number;
  /** Held in Redis, never heard of in PostgreSQL: their gateway died before it published. Released. */
  readonly dropped: number;
}

/**
 * Releases the holds that outlived their job. Any number of collectors may sweep at the same time. A sweep rejects with
 * the first failure of a server; the next one begins anew.
 */
export function createSweeper(options: SweeperOptions): { sweep(signal: AbortSignal): Promise<Sweep> } {
  const { store, quota, accounting, settler, mayGoOn, redisNowMs, graceMs, now, logger } = options;

  async function expireOpenJobs(signal: AbortSignal): Promise<number> {
    const jobs = await store.expiredOpenHolds(PAGE);
    const refused = await accounting.book(
      jobs.map((job): Fact => ({ type: 'completed', message: unusedCompletion(job, expiry(now())) })),
      signal,
    );
    for (const [key, reason] of refused) logger.error({ fact: key, reason }, 'an expired job cannot be recorded');
    return jobs.length - refused.size;
  }

  async function cleanRedis(signal: AbortSignal): Promise<Pick<Sweep, 'settled' | 'dropped'>> {
    const holds = await quota.expiredHolds({ nowMs: (await redisNowMs()) - graceMs, limit: PAGE });
    if (holds.length === 0) return { settled: 0, dropped: 0 };
    const known = await store.terminalFacts(holds.map(({ jobId }) => jobId));
    const settlements = holds.flatMap((hold) => {
      const record = known.get(hold.jobId);
      return record === undefined || record === 'open' ? [] : [settlementOf(hold, record)];
    });
    await settler.settle(settlements, signal);
    let dropped = 0;
    for (const hold of holds.filter(({ jobId }) => !known.has(jobId))) {
      if (await quota.dropHold(hold)) dropped += 1;
    }
    return { settled: settlements.length, dropped };
  }

  return {
    async sweep(signal) {
      const total = { expired: 0, settled: 0, dropped: 0 };
      for (let round = 0; round < MAX_ROUNDS && !signal.aborted && mayGoOn(); round++) {
        const expired = await expireOpenJobs(signal);
        total.expired += expired;
        if (expired < PAGE) break;
      }
      for (let round = 0; round < MAX_ROUNDS && !signal.aborted && mayGoOn(); round++) {
        const { settled, dropped } = await cleanRedis(signal);
        total.settled += settled;
        total.dropped += dropped;
        if (settled + dropped < PAGE) break;
      }
      if (total.expired + total.settled + total.dropped > 0) logger.info(total, 'swept holds that outlived their jobs');
      return total;
    },
  };
}

function expiry(nowMs: number) {
  return {
    state: 'expired',
    error: { code: 'expired', detail: 'The job did not finish before its deadline.' },
    attempt: 1,
    finishedAtMs: nowMs,
  } as const;
}
