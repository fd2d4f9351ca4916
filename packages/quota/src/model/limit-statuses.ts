import type { Limit, LimitStatus, ScopedLimits } from '../limits.js';
import { atLeastZero, divideUp, refilled, rescaled, timeFrom, windowOf, type LimitState } from './limit-state.js';
import { isOf, type ScopeState } from './scope-model.js';

/**
 * What a caller is told of its limits when Redis' clock shows `clockMs`. Undefined when a limit is not known in a scope
 * that is; a scope that is not there is unused.
 */
export function statusesOf(
  scopes: readonly ScopedLimits[],
  kept: readonly (ScopeState | undefined)[],
  clockMs: number,
): readonly LimitStatus[] | undefined {
  const statuses: LimitStatus[] = [];
  for (const [i, { scope, subject, limits }] of scopes.entries()) {
    const state = kept[i];
    for (const limit of limits) {
      const known = state?.limits.get(limit.name);
      if (state && !isOf(known, limit)) return undefined;
      const { name, kind, unit, max, soft = false } = limit;
      const counts = countsOf(limit, known, state?.atMs ?? clockMs, clockMs);
      statuses.push({ name, scope, subject, kind, unit, max, soft, ...counts });
    }
  }
  return statuses;
}

type Counts = Pick<LimitStatus, 'used' | 'held' | 'overage' | 'remaining' | 'resetsInMs'>;

function countsOf(limit: Limit, state: LimitState | undefined, atMs: number, clockMs: number): Counts {
  const nowMs = timeFrom(atMs, clockMs);
  if (limit.kind === 'rate') {
    const lack = state ? rescaled(refilled(state, nowMs - atMs), state.limit, limit) : 0n;
    const resetsInMs = Number(divideUp(lack, BigInt(limit.max)));
    return { ...countsFrom(limit, divideUp(lack, windowOf(limit)), 0n), overage: 0, resetsInMs };
  }
  if (limit.kind === 'inFlight') return { ...countsFrom(limit, 0n, state?.held ?? 0n), overage: 0, resetsInMs: 0 };
  const period = limit.period && nowMs < limit.period.endsAtMs ? first(limit.period) : next(limit.period);
  const isOpen = state !== undefined && nowMs < state.endsAtMs;
  // n.b. a period may end later than was stored: when a tenant moves to another time zone.
  const goesOn = isOpen || state?.periodId === period.id ? state : undefined;
  const endsAtMs = isOpen ? state.endsAtMs : period.endsAtMs;
  return {
    ...countsFrom(limit, goesOn?.used ?? 0n, goesOn?.held ?? 0n),
    overage: Number(goesOn?.overage ?? 0n),
    resetsInMs: Math.max(0, endsAtMs - nowMs),
  };
}

function first(period: NonNullable<Limit['period']>) {
  return { id: period.id, endsAtMs: period.endsAtMs };
}

function next(period: Limit['period']) {
  return { id: period?.nextId, endsAtMs: period?.nextEndsAtMs ?? 0 };
}

function countsFrom({ max }: Limit, used: bigint, held: bigint) {
  return { used: Number(used), held: Number(held), remaining: Number(atLeastZero(BigInt(max) - used - held)) };
}
