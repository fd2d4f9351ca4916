import { totalTokens, type Usage } from '@sluice/contracts';
import type { Measure, RateWindow } from '../src/index.js';

/** A job as the model knows it. Times are Unix milliseconds. */
export interface ModelJob {
  readonly atMs: number;
  readonly apiKeyId: string;
  readonly model: string;
  readonly reservedTokens: number;
  readonly reservedNanoUsd: number;
  /** Undefined while the job is open. */
  readonly usage: Usage | undefined;
  readonly amountNanoUsd: number;
  /** Whether its end says what was held. */
  readonly tellsHold: boolean;
  /** When its end was recorded. */
  readonly recordedMs: number;
}

/** What takes from a bucket: units at a time, part of them overage. */
export interface Taking {
  readonly atMs: number;
  readonly units: number;
  readonly overage: number;
}

const BUCKET_MS = 900_000;
const bucketOf = (ms: number): number => Math.floor(ms / BUCKET_MS) * BUCKET_MS;

/** What a job counts for, by what it used or else by what is held for it. */
function takingOf(job: ModelJob, unit: Measure['unit']): Taking {
  const { atMs, usage, tellsHold } = job;
  if (unit === 'requests') return { atMs, units: 1, overage: 0 };
  const held = unit === 'tokens' ? job.reservedTokens : job.reservedNanoUsd;
  if (usage === undefined) return { atMs, units: held, overage: 0 };
  const units = unit === 'tokens' ? totalTokens(usage) : job.amountNanoUsd;
  return { atMs, units, overage: tellsHold ? Math.max(0, units - held) : 0 };
}

/**
 * What a bucket lacks at `nowMs`, times windowMs, one taking after the other: it refills in between and is never fuller
 * than full.
 */
export function backlog(takings: readonly Taking[], { max, windowMs }: RateWindow, nowMs: number): number {
  let [lacks, lastMs] = [0, 0];
  for (const { atMs, units } of [...takings].sort((a, b) => a.atMs - b.atMs)) {
    lacks = Math.max(0, lacks - max * (atMs - lastMs)) + units * windowMs;
    lastMs = atMs;
  }
  return Math.max(0, lacks - max * (nowMs - lastMs));
}

const overageOf = (takings: readonly Taking[]): readonly Taking[] =>
  takings.map((taking) => ({ ...taking, units: taking.overage }));

/** A taking of a rate, and whether it is older than what is read to the millisecond. */
type Dated = Taking & { readonly before: boolean };

/**
 * The same as PostgreSQL is asked for: what was held counts at the job's time, of ended jobs before the recent part at the
 * end of their 15 minutes; what was used beyond counts when that was recorded. The roll-up is read for a day.
 */
function datedTakings(job: ModelJob, unit: Measure['unit'], nowMs: number): readonly Dated[] {
  const recentMs = bucketOf(nowMs) - BUCKET_MS;
  const { units, overage } = takingOf(job, unit);
  const before = job.atMs < recentMs;
  const isRolledUp = before && job.usage !== undefined;
  const rolledUpMs = bucketOf(job.atMs) + BUCKET_MS;
  const atMs = isRolledUp ? rolledUpMs : Math.min(job.atMs, nowMs);
  const isForgotten = isRolledUp && rolledUpMs - BUCKET_MS < recentMs - 86_400_000;
  const { recordedMs } = job;
  return [
    ...(isForgotten ? [] : [{ atMs, units: units - overage, overage: 0, before }]),
    ...(overage > 0 ? [{ atMs: recordedMs, units: overage, overage, before: recordedMs < recentMs }] : []),
  ];
}

/** What was lacking before the recent part is bounded by admission: max, and what overage added. */
function rateOf(jobs: readonly ModelJob[], measure: Measure, nowMs: number): [number, number] {
  const rate = measure.window as RateWindow;
  const recentMs = bucketOf(nowMs) - BUCKET_MS;
  const dated = jobs.flatMap((job) => datedTakings(job, measure.unit, nowMs));
  const before = dated.filter((taking) => taking.before);
  const recent = dated.filter((taking) => !taking.before);
  const overBefore = backlog(overageOf(before), rate, recentMs);
  const usedBefore = Math.min(backlog(before, rate, recentMs), rate.max * rate.windowMs + overBefore);
  const at = (units: number): Taking => ({ atMs: recentMs, units: units / rate.windowMs, overage: 0 });
  const used = backlog([at(usedBefore), ...recent], rate, nowMs);
  return [used, Math.min(used, backlog([at(overBefore), ...overageOf(recent)], rate, nowMs))];
}

/** `used` and `overage` of a measure by subject, those of rates times windowMs; subjects without any are absent. */
export function measured(jobs: readonly ModelJob[], measure: Measure, nowMs: number): Map<string, [number, number]> {
  const bySubject = new Map<string, ModelJob[]>();
  for (const job of jobs) {
    const subject = measure.scope === 'tenant' ? '' : measure.scope === 'apiKey' ? job.apiKeyId : job.model;
    bySubject.set(subject, [...(bySubject.get(subject) ?? []), job]);
  }
  const amounts = [...bySubject].map(([subject, own]): [string, [number, number]] => [
    subject,
    measure.window.kind === 'rate' ? rateOf(own, measure, nowMs) : periodOf(own, measure, measure.window),
  ]);
  return new Map(amounts.filter(([, [used, overage]]) => used !== 0 || overage !== 0));
}

function periodOf(
  jobs: readonly ModelJob[],
  measure: Measure,
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
): [number, number] {
  const within = jobs.filter(({ atMs, usage }) => usage !== undefined && atMs >= fromMs && atMs < toMs);
  const takings = within.map((job) => takingOf(job, measure.unit));
  const sum = (value: (taking: Taking) => number): number => takings.reduce((total, one) => total + value(one), 0);
  return [sum(({ units }) => units), sum(({ overage }) => overage)];
}
