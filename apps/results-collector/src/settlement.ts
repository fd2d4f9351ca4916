import { MAX_BUDGET_USD, totalTokens, type TerminalState, type Usage } from '@sluice/contracts';
import type { Quota, Settlement, SettleOutcome } from '@sluice/quota';
import type { Logger } from '@sluice/runtime';
import { persist, StoppedError } from './persistence.js';

/** How a job ended according to the ledger. */
export interface TerminalRecord {
  readonly state: TerminalState;
  readonly usage: Usage;
  readonly amountNanoUsd: bigint;
}

/** What the hold of a job that ended like `record` is settled with. */
export function settlementOf(
  job: { readonly tenantId: string; readonly jobId: string },
  record: TerminalRecord,
): Settlement {
  return {
    tenantId: job.tenantId,
    jobId: job.jobId,
    tokens: totalTokens(record.usage),
    nanoUsd: redisNanoUsd(record.amountNanoUsd),
    outputTokens: record.usage.outputTokens,
    state: record.state,
  };
}

/** Money as Redis counts it: a whole number up to the largest budget, which is below 2^53. */
export function redisNanoUsd(amountNanoUsd: bigint): number {
  return Math.min(Number(amountNanoUsd), MAX_BUDGET_USD * 1e9);
}

export interface SettlerOptions {
  readonly quota: Pick<Quota, 'settle'>;
  /** Hears of every failed attempt to reach Redis. */
  readonly onFailure: (error: unknown) => void;
  /** Hears what became of each settlement; `damaged` are the keys of its tenant. */
  readonly onOutcome: (outcome: SettleOutcome | 'damaged') => void;
  /** Hears how long Redis took to settle some holds together, in milliseconds. */
  readonly onSettled?: (ms: number) => void;
  /** Attempts before it is given up with the error of the last one; it is never when absent. */
  readonly maxAttempts?: number;
  readonly logger: Logger;
}

export interface Settler {
  /**
   * Gives holds back to their tenants' limits, waiting for Redis as long as it takes (see `maxAttempts`). A hold that
   * is already settled is left alone.
   *
   * @throws StoppedError when the signal aborts first; settling again later is safe.
   */
  settle(settlements: readonly Settlement[], signal: AbortSignal): Promise<void>;
}

/** Settles in Redis what PostgreSQL has recorded. */
export function createSettler({
  quota,
  onFailure,
  onOutcome,
  onSettled,
  maxAttempts = Infinity,
  logger,
}: SettlerOptions): Settler {
  async function settleTogether(settlements: readonly Settlement[]): Promise<void> {
    const beganMs = performance.now();
    const outcomes = await quota.settle(settlements);
    onSettled?.(performance.now() - beganMs);
    for (const outcome of outcomes) onOutcome(outcome);
  }

  /**
   * One by one, so that a tenant whose keys are damaged holds up nobody else. Its hold is left to the sweep, which
   * tries again when the hold has expired.
   */
  async function settleEach(settlements: readonly Settlement[]): Promise<void> {
    for (const settlement of settlements) {
      try {
        await settleTogether([settlement]);
      } catch (error) {
        if (!isDamage(error)) throw error;
        onOutcome('damaged');
        logger.error({ err: error, jobId: settlement.jobId }, 'a hold cannot be settled, it is left to the sweep');
      }
    }
  }

  async function settleAll(settlements: readonly Settlement[]): Promise<void> {
    try {
      await settleTogether(settlements);
    } catch (error) {
      if (!isDamage(error)) throw error;
      await settleEach(settlements);
    }
  }

  return {
    async settle(settlements, signal) {
      if (settlements.length === 0) return;
      await persist(() => settleAll(settlements), {
        signal,
        maxAttempts,
        onFailure: (error, attempt, delayMs) => {
          onFailure(error);
          logger.warn({ err: error, attempt, delayMs }, 'Redis could not settle holds');
        },
      });
    },
  };
}

/** Settles what can be settled now; of a failure of Redis it only tells, for a sweep settles the holds when they expire. */
export function leaveToSweep(settler: Settler, logger: Logger): Settler {
  return {
    async settle(settlements, signal) {
      try {
        await settler.settle(settlements, signal);
      } catch (error) {
        if (error instanceof StoppedError) throw error;
        const jobs = settlements.map(({ jobId }) => jobId);
        logger.warn({ err: error, jobs }, 'holds cannot be settled now, they are left to the sweep');
      }
    },
  };
}

/**
 * Redis answered, and what it objects to are the keys; being away, full, loading or read-only has other names. Keys whose
 * bytes do not mean anything are found out where they are read, as a RangeError.
 */
export function isDamage(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  // n.b. by name: an error of another realm is no instance.
  if ((cause as { readonly name?: unknown } | undefined)?.name === 'RangeError') return true;
  return cause instanceof Error && /^(WRONGTYPE|ERR) /.test(cause.message) && !STATE_OF_SERVER.test(cause.message);
}

/** n.b. before version 7 an error within a script begins with `ERR` whatever it is; the code follows in the text. */
const STATE_OF_SERVER = /\b(OOM|READONLY|MISCONF|NOREPLICAS|CLUSTERDOWN|LOADING|BUSY)\b/;
