import type { BookedJob, Entry } from '../books.js';
import type { Evidence } from '../evidence.js';
import type { QuotaSample, ShownLimit } from '../observations.js';

/** A limit and whom it applies to. */
export interface AppliedLimit {
  readonly tenantId: string;
  readonly limit: ShownLimit;
  /** For people: `chaos-keys model guesslang: model:tokens-per-day`. */
  readonly label: string;
}

/** Every limit once, as it was shown last: keys of one tenant show its limits each. */
export function appliedLimits({ finalLimits }: Pick<Evidence, 'finalLimits'>): readonly AppliedLimit[] {
  return [...new Map(finalLimits.flatMap(limitsOf).map((one) => [one.label, one])).values()];
}

/** The limits of one answer. */
export function limitsOf({ tenantId, limits }: QuotaSample): readonly AppliedLimit[] {
  return limits.map((limit) => {
    const { scope, subject = '', name } = limit;
    const whose = scope === 'tenant' ? tenantId : `${tenantId} ${scope} ${subject}`;
    return { tenantId, limit, label: `${whose}: ${name}` };
  });
}

/** Whether a job counts on a limit. */
export function countsOn({ tenantId, limit }: AppliedLimit, job: BookedJob | Entry): boolean {
  if (job.tenantId !== tenantId) return false;
  if (limit.scope === 'tenant') return true;
  return limit.subject === (limit.scope === 'apiKey' ? job.apiKeyId : job.model);
}

/** What an entry uses in the unit of a limit. */
export function usedBy(entry: Entry, unit: ShownLimit['unit']): number {
  if (unit === 'nanoUsd') return Number(entry.amountNanoUsd);
  return unit === 'tokens' ? entry.inputTokens + entry.outputTokens : 1;
}

/** What of that was beyond the hold. */
export function overageOf(entry: Entry, unit: ShownLimit['unit']): number {
  if (unit === 'nanoUsd') return Number(entry.overageNanoUsd);
  return unit === 'tokens' ? entry.overageTokens : 0;
}

/** The period of a quota that a day (`yyyy-MM-dd`) of the tenant's calendar lies in. */
export function periodOf({ name }: ShownLimit, day: string): string {
  return name.endsWith('-per-day') ? day : day.slice(0, 'yyyy-MM'.length);
}

export function sumOf<T>(list: readonly T[], amount: (one: T) => number): number {
  return list.reduce((sum, one) => sum + amount(one), 0);
}
