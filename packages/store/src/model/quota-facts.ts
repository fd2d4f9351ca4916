import { totalTokens } from '@sluice/contracts';
import type { Measure, MeasuredAmount, OpenHold, QuotaFacts, QuotaFactsQuery } from '../quota-facts.js';
import { rateOf, type Use } from './rates.js';
import { compareText, isOpen, type JobEntry, type LedgerEntry, type Tables, tenantTables } from './tables.js';

/** `QuotaFactsReader.quotaFacts`, to the last digit. */
export function quotaFacts(tables: Tables, nowMs: number, query: QuotaFactsQuery): QuotaFacts {
  const { tenantId, measures } = query;
  const clock = clockOf(nowMs, query);
  const { jobs, ends } = tenantTables(tables, tenantId);
  const open = jobs.filter((job) => isOpen(tables, job));
  const amounts = measures.flatMap((measure, index) => {
    const found = measure.window.kind === 'rate' ? ratesOf(ends, open, { measure, clock }) : periodsOf(ends, measure);
    return [...found]
      .filter(([, [used, overage]]) => used !== 0 || overage !== 0)
      .map(([subject, [used, overage]]): MeasuredAmount => ({ measure: index, subject, used, overage }));
  });
  return { amounts, openHolds: open.map(toOpenHold).sort((a, b) => compareText(a.jobId, b.jobId)) };
}

/** Used and overage by subject. */
type Amounts = Map<string, readonly [number, number]>;

/** What settled jobs used that were accepted within the measure's period. */
function periodsOf(ends: readonly LedgerEntry[], measure: Measure): Amounts {
  const amounts: Amounts = new Map();
  const { window } = measure;
  if (window.kind === 'rate') return amounts;
  for (const end of ends) {
    if (end.jobAtMs < window.fromMs || end.jobAtMs >= window.toMs) continue;
    const { units, overage } = useOfEnd(end, measure.unit);
    const [used, beyond] = amounts.get(subjectOf(end, measure.scope)) ?? [0, 0];
    amounts.set(subjectOf(end, measure.scope), [used + units, beyond + overage]);
  }
  return amounts;
}

/** The clock that jobs are dated by, and how far it is ahead of PostgreSQL's own. */
interface Clock {
  readonly nowMs: number;
  readonly aheadMs: number;
}

function clockOf(databaseMs: number, { nowMs }: QuotaFactsQuery): Clock {
  if (nowMs === undefined) return { nowMs: Math.floor(databaseMs), aheadMs: 0 };
  return { nowMs: Math.floor(nowMs), aheadMs: Math.floor(nowMs) - databaseMs };
}

interface RateOptions {
  readonly measure: Measure;
  readonly clock: Clock;
}

/** What the buckets of a rate lack, open jobs included. */
function ratesOf(ends: readonly LedgerEntry[], open: readonly JobEntry[], { measure, clock }: RateOptions): Amounts {
  const { scope, unit, window } = measure;
  if (window.kind !== 'rate') return new Map();
  const bySubject = new Map<string, Use[]>();
  const add = (subject: string, use: Use): void => {
    const uses = bySubject.get(subject);
    if (uses === undefined) bySubject.set(subject, [use]);
    else uses.push(use);
  };
  for (const end of ends) add(subjectOf(end, scope), useOfEnd(end, unit, clock.aheadMs));
  for (const job of open) add(subjectOf(job, scope), useOfHold(job, unit));
  return new Map(
    [...bySubject].map(([subject, uses]) => {
      const [used, overage] = rateOf(uses, window, clock.nowMs);
      return [subject, [used / window.windowMs, overage / window.windowMs] as const];
    }),
  );
}

function subjectOf(of: { readonly apiKeyId: string; readonly model: string }, scope: Measure['scope']): string {
  return scope === 'tenant' ? '' : scope === 'apiKey' ? of.apiKeyId : of.model;
}

/** When it was recorded is told by its age. */
function useOfEnd(end: LedgerEntry, unit: Measure['unit'], aheadMs = 0): Use {
  const base = { atMs: end.jobAtMs, endedMs: Math.floor(end.recordedAtMs + aheadMs) };
  if (unit === 'requests') return { ...base, units: 1, overage: 0 };
  if (unit === 'tokens') return { ...base, units: totalTokens(end), overage: end.overageTokens };
  return { ...base, units: Number(end.amountNanoUsd), overage: Number(end.overageNanoUsd) };
}

function useOfHold(job: JobEntry, unit: Measure['unit']): Use {
  const units = { requests: 1, tokens: job.reservedTokens, nanoUsd: job.reservedNanoUsd }[unit];
  return { atMs: job.jobAtMs, endedMs: undefined, units, overage: 0 };
}

function toOpenHold(job: JobEntry): OpenHold {
  return {
    jobId: job.jobId,
    apiKeyId: job.apiKeyId,
    model: job.model,
    reservedTokens: job.reservedTokens,
    reservedNanoUsd: job.reservedNanoUsd,
    expiresAtMs: job.expiresAtMs,
    acceptedAtMs: job.jobAtMs,
  };
}
