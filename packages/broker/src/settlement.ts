import { MAX_ATTEMPTS, RETRY_TIERS } from '@sluice/contracts';
import type { TraceHeaders } from '@sluice/telemetry';

/** What becomes of a delivery; a handler returns it and never touches the channel. */
export type Settlement =
  | { readonly kind: 'ack' }
  | { readonly kind: 'retry'; readonly delayMs: number; readonly reason?: string }
  | { readonly kind: 'dead'; readonly reason: string; readonly trace?: TraceHeaders };

/** A settlement that needs a copy of the message elsewhere. */
export type Move = Exclude<Settlement, { kind: 'ack' }>;

/** The delivery is dealt with. */
export const ack: Settlement = Object.freeze({ kind: 'ack' });

/**
 * Deliver it again after `delayMs` milliseconds or a little later, with the next attempt number; `reason` is for whoever gets it
 * then (an error code where there is one).
 */
export function retry(delayMs: number, reason?: string): Move {
  return reason === undefined ? { kind: 'retry', delayMs } : { kind: 'retry', delayMs, reason };
}

/**
 * Move it to the dead queue; `reason` is for operators (an error code where there is one). `trace` is what the copy belongs to, instead of
 * what the message came with.
 */
export function dead(reason: string, trace?: TraceHeaders): Move {
  return trace === undefined ? { kind: 'dead', reason } : { kind: 'dead', reason, trace };
}

/** A retry exchange and its queue. The queue's own TTL is the longest delay; copies carry a slightly shorter one. */
export interface RetryTier {
  readonly name: string;
  readonly delayMs: number;
}

/** The shortest tier that waits at least `delayMs`, else the longest. */
export function tierFor(delayMs: number, tiers: readonly RetryTier[] = RETRY_TIERS): RetryTier {
  const byDelay = [...tiers].sort((a, b) => a.delayMs - b.delayMs);
  const tier = byDelay.find((candidate) => candidate.delayMs >= delayMs) ?? byDelay.at(-1);
  if (tier === undefined) throw new RangeError('There are no retry tiers.');
  return tier;
}

/** What a thrown error means for attempt number `attempt`: longer and longer retries, then dead. */
export function settlementAfterError(attempt: number, tiers: readonly RetryTier[] = RETRY_TIERS): Move {
  if (attempt >= MAX_ATTEMPTS) return dead('attempts_exhausted');
  const tier = tiers[Math.min(attempt, tiers.length) - 1];
  return retry(tier?.delayMs ?? 0);
}
