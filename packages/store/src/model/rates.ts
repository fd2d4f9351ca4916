import type { RateWindow } from '../quota-facts.js';
import { BUCKET_MS, bucketOf } from './tables.js';

/** What takes from a bucket of a rate. */
export interface Taking {
  readonly atMs: number;
  readonly units: number;
}

/** What a job counts for in a unit. Times are Unix milliseconds. */
export interface Use {
  /** When the job was accepted. */
  readonly atMs: number;
  /** What it used, or what is held for it. */
  readonly units: number;
  /** The part of it beyond what was held. */
  readonly overage: number;
  /** When its end was recorded; undefined while it is open. */
  readonly endedMs: number | undefined;
}

const DAY_MS = 86_400_000;

/** What a bucket lacked at a time, times windowMs. */
export interface Lack {
  readonly atMs: number;
  readonly lacks: number;
}

/**
 * What a bucket lacks at `nowMs`, times windowMs, one taking after the other: it refills in between and is never fuller
 * than full. All numbers are whole. It was full at the epoch, or lacked what `since` says.
 */
export function backlog(
  takings: readonly Taking[],
  { max, windowMs, since = FULL }: RateWindow & { readonly since?: Lack },
  nowMs: number,
): number {
  let { lacks, atMs: lastMs } = since;
  for (const { atMs, units } of takings.toSorted((a, b) => a.atMs - b.atMs)) {
    lacks = Math.max(0, lacks - max * (atMs - lastMs)) + units * windowMs;
    lastMs = atMs;
  }
  return Math.max(0, lacks - max * (nowMs - lastMs));
}

const FULL: Lack = { atMs: 0, lacks: 0 };

/** A taking, what of it is overage, and whether it is older than what is read to the millisecond. */
type Dated = Taking & { readonly overage: number; readonly before: boolean };

/**
 * The same as PostgreSQL is asked for: what was held counts at the job's time, of ended jobs before the recent part at the
 * end of their 15 minutes; what was used beyond counts when that was recorded. The roll-up is read for a day.
 */
function takingsOf({ atMs, units, overage, endedMs }: Use, nowMs: number): readonly Dated[] {
  const recentMs = bucketOf(nowMs) - BUCKET_MS;
  const before = atMs < recentMs;
  const isRolledUp = before && endedMs !== undefined;
  const isForgotten = isRolledUp && bucketOf(atMs) < recentMs - DAY_MS;
  // A job whose time has not come by this clock counts as one of now.
  const takenMs = isRolledUp ? bucketOf(atMs) + BUCKET_MS : Math.min(atMs, nowMs);
  return [
    ...(isForgotten ? [] : [{ atMs: takenMs, units: units - overage, overage: 0, before }]),
    ...(endedMs !== undefined && overage > 0 && endedMs >= recentMs - DAY_MS
      ? [{ atMs: Math.min(endedMs, nowMs), units: overage, overage, before: endedMs < recentMs }]
      : []),
  ];
}

const overagesOf = (takings: readonly Dated[]): readonly Taking[] =>
  takings.map(({ atMs, overage }) => ({ atMs, units: overage }));

/**
 * What a rate's bucket lacks at `nowMs` and how much of that is overage, both times windowMs. What was lacking before the
 * recent part is bounded by admission: max, and what overage added.
 */
export function rateOf(uses: readonly Use[], rate: RateWindow, nowMs: number): readonly [number, number] {
  const recentMs = bucketOf(nowMs) - BUCKET_MS;
  const takings = uses.flatMap((use) => takingsOf(use, nowMs));
  const before = takings.filter((taking) => taking.before);
  const recent = takings.filter((taking) => !taking.before);
  const overBefore = backlog(overagesOf(before), rate, recentMs);
  const usedBefore = Math.min(backlog(before, rate, recentMs), rate.max * rate.windowMs + overBefore);
  const since = (lacks: number) => ({ ...rate, since: { atMs: recentMs, lacks } });
  const used = backlog(recent, since(usedBefore), nowMs);
  return [used, Math.min(used, backlog(overagesOf(recent), since(overBefore), nowMs))];
}
