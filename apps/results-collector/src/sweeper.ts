import type { HoldRef, Quota } from '@sluice/quota';
import type { Logger } from '@sluice/runtime';
import type { CompletedFact, ExpiredHold, Store } from '@sluice/store';
import { unusedCompletion } from './facts.js';
import { settlementOf, type Settler } from './settlement.js';

/** Holds looked at in one round. */
const PAGE = 500;
/** Rounds of one sweep; what is left over waits for the next. */
const MAX_ROUNDS = 20;

export interface SweeperOptions {
  readonly store: Pick<Store, 'expiredOpenHolds' | 'terminalFacts'>;
  readonly quota: Pick<Quota, 'expiredHolds' | 'dropHold'>;
  /** Must not wait for a server that is away: what a round found is out of date afterwards. */
  readonly settler: Settler;
  /** Publishes the end of a job to the `results` queue, where it is taken into the books like any other. */
  readonly report: (fact: CompletedFact) => Promise<void>;
  /** Resolves when everything that was published before is recorded; see the decision about the fence. */
  readonly passFence: () => Promise<void>;
  /** Asked before every round: false while a server is away. */
  readonly mayGoOn: () => boolean;
  /** The clock of Redis, by which jobs and holds expire (Unix milliseconds). Nothing is swept while nobody knows it. */
  readonly redisNowMs: () => Promise<number>;
  /** How long a hold must have been expired before Redis is cleaned of it, in milliseconds. */
  readonly graceMs: number;
  readonly logger: Logger;
}

/** What a sweep did, in jobs. */
export interface Sweep {
  /** Open in PostgreSQL and past their time: reported as `expired`. */
  readonly expired: number;
  /** Ended in PostgreSQL, still held in Redis: settled. */
  readonly settled: number;
  /** Held in Redis, never heard of in PostgreSQL: their gateway died before it published. Released. */
  readonly dropped: number;
}

/**
 * Ends the jobs and holds that outlived their time. The sweep decides by what PostgreSQL does *not* know, so every round
 * looks for candidates, passes the fence when there are any, and looks again: what was on its way is recorded then.
 * Any number of collectors may sweep at the same time. A sweep rejects when a server fails; the next
 * one begins anew.
 */
export function createSweeper(options: SweeperOptions): { sweep(signal: AbortSignal): Promise<Sweep> } {
  const { store, quota, settler, report, passFence, mayGoOn, redisNowMs, graceMs, logger } = options;

  /** What `look` finds on both sides of a fence; without a fence when it finds nothing. */
  async function afterFence<T>(look: () => Promise<readonly T[]>): Promise<readonly T[]> {
    if ((await look()).length === 0) return [];
    await passFence();
    return look();
  }

  async function expireOpenJobs(): Promise<number> {
    const nowMs = await redisNowMs();
    // n.b. those reported by the last round are recorded by now, because this round's fence has passed.
    const jobs = await afterFence(() => store.expiredOpenHolds(PAGE, nowMs));
    await Promise.all(jobs.map((job) => report(expiryOf(job, nowMs))));
    return jobs.length;
  }

  async function cleanRedis(signal: AbortSignal): Promise<Pick<Sweep, 'settled' | 'dropped'>> {
    const beforeMs = (await redisNowMs()) - graceMs;
    const holds = await quota.expiredHolds({ nowMs: beforeMs, limit: PAGE });
    if (holds.length === 0) return { settled: 0, dropped: 0 };
    const known = await store.terminalFacts(holds.map(({ jobId }) => jobId));
    const settlements = holds.flatMap((hold) => {
      const record = known.get(hold.jobId);
      return record === undefined || record === 'open' ? [] : [settlementOf(hold, record)];
    });
    await settler.settle(settlements, signal);
    const dropped = await drop(holds.filter(({ jobId }) => !known.has(jobId)));
    return { settled: settlements.length, dropped };
  }

  /** Drops those of these holds whose jobs are in no queue either. */
  async function drop(holds: readonly HoldRef[]): Promise<number> {
    if (holds.length === 0) return 0;
    await passFence();
    const known = await store.terminalFacts(holds.map(({ jobId }) => jobId));
    let dropped = 0;
    for (const hold of holds.filter(({ jobId }) => !known.has(jobId))) {
      if (await quota.dropHold(hold)) dropped += 1;
    }
    return dropped;
  }

  return {
    async sweep(signal) {
      const total = { expired: 0, settled: 0, dropped: 0 };
      const mayLook = (round: number): boolean => round < MAX_ROUNDS && !signal.aborted && mayGoOn();
      async function expireAll(): Promise<void> {
        for (let round = 0; mayLook(round); round++) {
          const expired = await expireOpenJobs();
          total.expired += expired;
          if (expired < PAGE) break;
        }
      }
      async function cleanAll(): Promise<void> {
        for (let round = 0; mayLook(round); round++) {
          const { settled, dropped } = await cleanRedis(signal);
          total.settled += settled;
          total.dropped += dropped;
          if (settled + dropped < PAGE) break;
        }
      }
      // What cannot be expired, because the statement takes too long for instance, keeps no hold in Redis.
      const expiring = await expireAll().then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      await cleanAll();
      if (expiring) throw expiring.error;
      if (total.expired + total.settled + total.dropped > 0) logger.info(total, 'swept holds that outlived their jobs');
      return total;
    },
  };
}

function expiryOf(job: ExpiredHold, finishedAtMs: number): CompletedFact {
  const error = { code: 'expired', detail: 'The job did not finish before its deadline.' };
  return unusedCompletion(job, { state: 'expired', error, attempt: 1, finishedAtMs });
}
