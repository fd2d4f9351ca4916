import type { LimitUnit } from '@sluice/contracts';
import { CLOCK_STEP_MS } from '../bounds.js';
import type { Limit } from '../limits.js';
import type { Amounts } from '../quota.js';

/** A limit of one subject, at the moment of its scope. Every product is a bigint: nothing is ever rounded. */
export interface LimitState {
  /** As the last caller that named it had it; soft when the last caller did not. */
  readonly limit: Limit;
  /** Rate: units × window that the bucket lacks. */
  readonly lack: bigint;
  /** Quota: its period; jobs accepted since `sinceMs` count. */
  readonly periodId: string;
  readonly sinceMs: number;
  readonly endsAtMs: number;
  readonly held: bigint;
  readonly used: bigint;
  readonly overage: bigint;
}

export const UNUSED = { lack: 0n, periodId: '', sinceMs: 0, endsAtMs: 0, held: 0n, used: 0n, overage: 0n };

export function atLeastZero(a: bigint): bigint {
  return a > 0n ? a : 0n;
}

export function divideUp(a: bigint, b: bigint): bigint {
  return a <= 0n ? -(-a / b) : (a + b - 1n) / b;
}

export function windowOf({ windowMs = 1 }: Limit): bigint {
  return BigInt(windowMs);
}

/** What a job counts as. `requests`: 1, or 0 for one that was released. */
export function amountOf(unit: LimitUnit, { tokens, nanoUsd }: Amounts, requests: bigint): bigint {
  return unit === 'requests' ? requests : BigInt(unit === 'tokens' ? tokens : nanoUsd);
}

/**
 * The time for what was left at `atMs` when the clock shows `clockMs`: it stands still until a clock that was set back a
 * little has caught up, and goes on from the new time after a greater step.
 */
export function timeFrom(atMs: number, clockMs: number): number {
  return atMs > clockMs && atMs - clockMs <= CLOCK_STEP_MS ? atMs : clockMs;
}

/** What a bucket lacks after some time, by the rule that it is kept under. */
export function refilled({ limit, lack }: LimitState, elapsedMs: number): bigint {
  if (limit.kind !== 'rate') return 0n;
  return atLeastZero(lack - BigInt(Math.max(0, elapsedMs)) * BigInt(limit.max));
}

/** The same under another window: whole units, rounded against the caller. */
export function rescaled(lack: bigint, was: Limit, is: Limit): bigint {
  return was.windowMs === is.windowMs ? lack : divideUp(lack, windowOf(was)) * windowOf(is);
}
