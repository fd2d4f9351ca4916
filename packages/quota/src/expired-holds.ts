import { PAGE } from './bounds.js';
import type { RedisConnection } from './connection.js';
import { tenantKeys, tenantsKey } from './keys.js';
import type { Nodes } from './nodes.js';

/** Names a hold. */
export interface HoldRef {
  readonly tenantId: string;
  readonly jobId: string;
}

export interface ExpiredHoldsOptions {
  readonly nodes: Nodes;
  readonly redis: RedisConnection;
  readonly keyPrefix: string;
}

/**
 * Makes the search for expired holds: page by page through the set of tenants, the oldest holds of each first. A call
 * ends with `limit` holds or at the end of the set; the next one goes on with the next tenant.
 */
export function createExpiredHolds({ nodes, redis, keyPrefix }: ExpiredHoldsOptions) {
  let cursor = '0';
  /** Tenants of the page at `cursor` that earlier calls dealt with. */
  let visited = 0;
  const expiries = (tenantId: string): string => tenantKeys(keyPrefix, tenantId).expiries;

  async function expiredOf(tenants: readonly string[], nowMs: number, limit: number): Promise<readonly HoldRef[][]> {
    const replies = await nodes.runAll<string, string[]>(tenants, expiries, (pipeline, tenantId) =>
      pipeline.zrangebyscore(expiries(tenantId), '-inf', nowMs, 'LIMIT', 0, limit),
    );
    return replies.map((jobIds, i) => jobIds.map((jobId) => ({ tenantId: tenants[i] ?? '', jobId })));
  }

  async function redisNowMs(): Promise<number> {
    const time = await nodes.run(tenantsKey(keyPrefix), (node) => node.redis.time());
    return Number(time[0]) * 1000 + Math.floor(Number(time[1]) / 1000);
  }

  return async function expiredHolds({ nowMs, limit }: { nowMs?: number; limit: number }): Promise<readonly HoldRef[]> {
    const beforeMs = nowMs ?? (await redisNowMs());
    const found: HoldRef[] = [];
    while (found.length < limit) {
      const [next, tenants] = await redis.sscan(tenantsKey(keyPrefix), cursor, 'COUNT', PAGE);
      for (const holds of await expiredOf(tenants.slice(visited), beforeMs, limit)) {
        if (found.length === limit) return found;
        found.push(...holds.slice(0, limit - found.length));
        visited++;
      }
      cursor = next;
      visited = 0;
      if (cursor === '0') break;
    }
    return found;
  };
}
