import type { StoredHold, StoredLimit, TenantState } from '../quota.js';
import { fieldSubject } from '../scope-state.js';
import { divideUp, windowOf, type LimitState } from './limit-state.js';
import type { TenantModel } from './tenant-model.js';

/** What `inspect` shows of a loaded tenant; the order of limits and holds is not that of Redis. */
export function tenantView({ scopes, holds }: TenantModel): TenantState {
  const limits = [...scopes].flatMap(([field, { atMs, limits: states }]): StoredLimit[] => {
    const subject = fieldSubject(field);
    return subject ? [...states].map(([name, state]) => ({ ...subject, name, ...storedLimit(state, atMs) })) : [];
  });
  const shown = [...holds].map(([jobId, { apiKeyId, model, amounts, madeAtMs }]): [string, StoredHold] => [
    jobId,
    { apiKeyId, model, amounts: { ...amounts }, acceptedAtMs: madeAtMs },
  ]);
  return { limits, holds: new Map(shown) };
}

function storedLimit(state: LimitState, atMs: number): Omit<StoredLimit, 'scope' | 'subject' | 'name'> {
  const { limit, lack, periodId: id, sinceMs, endsAtMs } = state;
  const { kind, unit } = limit;
  const facts = { kind, unit, used: 0, held: Number(state.held), overage: 0 };
  if (kind === 'rate') return { ...facts, used: Number(divideUp(lack, windowOf(limit))), atMs };
  if (kind === 'inFlight') return facts;
  return {
    ...{ ...facts, used: Number(state.used), overage: Number(state.overage) },
    period: { id, sinceMs, endsAtMs },
  };
}
