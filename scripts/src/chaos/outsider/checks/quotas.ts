import { groupBy, type Evidence } from '../evidence.js';
import type { Check, Offence } from '../verdict.js';
import { checkOf } from './check.js';
import { appliedLimits, countsOn, overageOf, periodOf, sumOf, usedBy, type AppliedLimit } from './scopes.js';

const NEARLY = 0.9;

interface PeriodUse {
  readonly applied: AppliedLimit;
  readonly period: string;
  readonly used: number;
  readonly overage: number;
}

/** Per the ledger alone, no quota and no budget was passed in any period, but by what was booked as overage. */
export function quotasWereKept(evidence: Evidence): Check {
  const quotas = appliedLimits(evidence).filter(({ limit }) => limit.kind === 'quota' && !limit.soft);
  const uses = quotas.flatMap((applied) => usesOf(evidence, applied));
  const offences = uses
    .filter(({ applied, used, overage }) => used > applied.limit.max + overage)
    .map(({ applied, period, used, overage }): Offence => ({
      what: `${applied.label} in ${period}: ${used} used of ${applied.limit.max} (overage ${overage})`,
      known: [],
    }));
  const nearly = uses.filter(({ applied, used }) => used >= applied.limit.max * NEARLY);
  return checkOf(
    'no quota and no budget was passed',
    {
      'quotas and budgets': quotas.length,
      'used to 90 %': nearly.length,
      'largest use in %': Math.round(Math.max(0, ...uses.map(({ applied, used }) => (used / applied.limit.max) * 100))),
    },
    offences,
  );
}

function usesOf({ books }: Evidence, applied: AppliedLimit): readonly PeriodUse[] {
  const entries = books.entries.filter((entry) => entry.phase >= 2 && countsOn(applied, entry));
  const { unit } = applied.limit;
  return [...groupBy(entries, ({ day }) => periodOf(applied.limit, day))].map(([period, list]) => ({
    applied,
    period,
    used: sumOf(list, (entry) => usedBy(entry, unit)),
    overage: sumOf(list, (entry) => overageOf(entry, unit)),
  }));
}

/** Whenever somebody looked, what was used and held stayed within the limit. */
export function samplesWereWithinLimits(evidence: Evidence): Check {
  const shown = [...evidence.samples, ...evidence.finalLimits];
  const offences: Offence[] = [];
  let looked = 0;
  let full = 0;
  for (const { tenantId, limits, atMs } of shown) {
    for (const { kind, soft, name, subject = '', max, used, held, overage } of limits) {
      if (soft || kind === 'rate') continue;
      looked += 1;
      if (used + held >= max * NEARLY) full += 1;
      if (used + held <= max + overage) continue;
      const whose = `${new Date(atMs).toISOString()} ${tenantId} ${subject} ${name}`;
      offences.push({ what: `${whose}: ${used} used and ${held} held of ${max} (overage ${overage})`, known: [] });
    }
  }
  return checkOf(
    'whenever limits were looked at, use and holds were within them',
    {
      answers: shown.length,
      limits: looked,
      'of those used to 90 %': full,
    },
    offences,
  );
}

/** After all has come to rest Redis says what the ledger says: the same use and overage, and nothing held. */
export function redisEqualsLedger(evidence: Evidence): Check {
  const limits = appliedLimits(evidence);
  const offences = limits.flatMap((applied) => {
    const what = differenceOf(evidence, applied);
    return what === undefined ? [] : [{ what: `${applied.label}: ${what}`, known: [] }];
  });
  return checkOf(
    'Redis equals the ledger, and nothing is held',
    {
      'keys asked': evidence.finalLimits.length,
      limits: limits.length,
      quotas: limits.filter(({ limit }) => limit.kind === 'quota').length,
    },
    limits.length === 0 ? [{ what: 'no limit was shown after the drain', known: [] }] : offences,
  );
}

function differenceOf(evidence: Evidence, applied: AppliedLimit): string | undefined {
  const { kind, used, held, overage } = applied.limit;
  if (held !== 0) return `${held} are still held`;
  if (kind !== 'quota') return undefined;
  const today = evidence.books.today.get(applied.tenantId) ?? '';
  const period = periodOf(applied.limit, today);
  const booked = usesOf(evidence, applied).find((use) => use.period === period) ?? { used: 0, overage: 0 };
  if (booked.used !== used) return `Redis has ${used} used, the ledger ${booked.used}`;
  return booked.overage === overage ? undefined : `Redis has ${overage} overage, the ledger ${booked.overage}`;
}
