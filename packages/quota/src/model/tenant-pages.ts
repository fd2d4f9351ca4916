import { PAGE } from '../bounds.js';
import type { HoldRef } from '../expired-holds.js';
import type { Steps } from './steps.js';
import type { TenantModel } from './tenant-model.js';

/** A page of a set that only grows; begins and ends with cursor '0'. */
export function pageOf(tenants: ReadonlySet<string>, cursor: string): { cursor: string; tenantIds: readonly string[] } {
  const from = Number(cursor);
  const end = from + PAGE;
  return { cursor: end < tenants.size ? String(end) : '0', tenantIds: [...tenants].slice(from, end) };
}

export interface PageSource {
  readonly tenants: () => ReadonlySet<string>;
  readonly tenant: (tenantId: string) => TenantModel;
}

export type FindExpiredHolds = (query: {
  readonly nowMs?: number;
  readonly limit: number;
}) => Steps<readonly HoldRef[]>;

/** `expiredHolds` of one instance of the package, which goes on where its last call stopped; command by command. */
export function createFindExpiredHolds({ tenants, tenant }: PageSource): FindExpiredHolds {
  let cursor = '0';
  let visited = 0;

  return function* expiredHolds({ nowMs, limit }) {
    const beforeMs = nowMs ?? (yield 'time');
    const found: HoldRef[] = [];
    while (found.length < limit) {
      yield 'sscan';
      const page = pageOf(tenants(), cursor);
      yield 'zrangebyscore';
      for (const tenantId of page.tenantIds.slice(visited)) {
        if (found.length === limit) return found;
        const own = expiredOf(tenant(tenantId), beforeMs).map((jobId) => ({ tenantId, jobId }));
        found.push(...own.slice(0, limit - found.length));
        visited++;
      }
      cursor = page.cursor;
      visited = 0;
      if (cursor === '0') break;
    }
    return found;
  };
}

/** The oldest first. */
function expiredOf({ holds }: TenantModel, nowMs: number): readonly string[] {
  const expired = [...holds].filter(([, { expiresAtMs }]) => expiresAtMs <= nowMs);
  expired.sort(([a, { expiresAtMs: ofA }], [b, { expiresAtMs: ofB }]) => ofA - ofB || (a < b ? -1 : 1));
  return expired.map(([jobId]) => jobId);
}
