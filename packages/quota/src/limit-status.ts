import { CLOCK_STEP_MS } from './bounds.js';
import type { Limit, LimitStatus, ScopedLimits } from './limits.js';
import { periodNumber } from './periods.js';
import { codeOf, recordOf, type StoredRecord, type StoredScope } from './scope-state.js';

/** Undefined in the place of a scope that is not kept: nothing of it was used. */
export type StoredScopes = readonly (StoredScope | undefined)[];

/**
 * How far the limits of `scopes` are used at `nowMs`, given the stored scopes in the same order. What the scripts would
 * do to a state before using it (refill, turn the period) is done here to a copy. Undefined when a limit is not kept in
 * a scope that is.
 */
export function statusesOf(
  scopes: readonly ScopedLimits[],
  stored: StoredScopes,
  nowMs: number,
): readonly LimitStatus[] | undefined {
  const statuses: LimitStatus[] = [];
  for (const [i, { scope, subject, limits }] of scopes.entries()) {
    const kept = stored[i];
    for (const [at, limit] of limits.entries()) {
      const record = kept && recordOf(kept, limit.name, at);
      if (kept && record?.code !== codeOf(limit.kind, limit.unit)) return undefined;
      const { name, kind, unit, max, soft = false } = limit;
      const { used, held, overage, remaining, resetsInMs } = countsOf(limit, record, nowMs, kept?.atMs ?? nowMs);
      // n.b. spelled out: this runs for each limit of each request, and a spread takes twice the time.
      statuses.push({ name, scope, subject, kind, unit, max, soft, used, held, overage, remaining, resetsInMs });
    }
  }
  return statuses;
}

type Counts = Pick<LimitStatus, 'used' | 'held' | 'overage' | 'remaining' | 'resetsInMs'>;

function countsOf(limit: Limit, record: StoredRecord | undefined, clockMs: number, atMs: number): Counts {
  const nowMs = atMs - clockMs > CLOCK_STEP_MS ? clockMs : Math.max(clockMs, atMs);
  if (limit.kind === 'rate')
    return rateCounts(limit, record?.kind === 'rate' ? record : undefined, Math.max(0, nowMs - atMs));
  if (limit.kind === 'quota') return quotaCounts(limit, record?.kind === 'quota' ? record : undefined, nowMs);
  const held = record?.kind === 'inFlight' ? record.held : 0;
  return { used: 0, held, overage: 0, remaining: Math.max(0, limit.max - held), resetsInMs: 0 };
}

function rateCounts(
  { max, windowMs = 1 }: Limit,
  record: Extract<StoredRecord, { kind: 'rate' }> | undefined,
  refilledMs: number,
): Counts {
  let lack = record ? Math.max(0, record.lack - refilledMs * record.max) : 0;
  if (record && record.windowMs !== windowMs) lack = Math.ceil(lack / record.windowMs) * windowMs;
  const used = Math.ceil(lack / windowMs);
  return { used, held: 0, overage: 0, remaining: Math.max(0, max - used), resetsInMs: Math.ceil(lack / max) };
}

function quotaCounts(
  { max, period }: Limit,
  record: Extract<StoredRecord, { kind: 'quota' }> | undefined,
  nowMs: number,
): Counts {
  const isFirst = !period || nowMs < period.endsAtMs;
  const current = {
    id: isFirst ? period?.id : period.nextId,
    endsAtMs: isFirst ? period?.endsAtMs : period.nextEndsAtMs,
  };
  const isOpen = record !== undefined && nowMs < record.endsAtMs;
  // n.b. a period may end later than was stored: when a tenant moves to another time zone.
  const goesOn = isOpen || (current.id !== undefined && record?.period === periodNumber(current.id));
  const { used, held, overage } = record && goesOn ? record : { used: 0, held: 0, overage: 0 };
  const resetsInMs = Math.max(0, (isOpen ? record.endsAtMs : (current.endsAtMs ?? nowMs)) - nowMs);
  return { used, held, overage, remaining: Math.max(0, max - used - held), resetsInMs };
}
