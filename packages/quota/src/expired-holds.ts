import type { RedisConnection } from './connection.js';
import { tenantKeys, tenantsKey } from './keys.js';

/** Names a hold. */
export interface HoldRef {
  readonly tenantId: string;
  readonly jobId: string;
}

/** Tenants looked at in one round trip, about. */
const PAGE = 100;

/**
 * Makes the search for expired holds: page by page through the set of tenants, the oldest holds of each first. A call
 * ends with `limit` holds or at the end of the set; the next one goes on with the next tenant.
 */
export function createExpiredHolds(redis: RedisConnection, keyPrefix: string) {
  let cursor = '0';
  /** Tenants of the page at `cursor` that earlier calls dealt with. */
  let visited = 0;

  async function expiredOf(tenants: readonly string[], nowMs: number, limit: number): Promise<readonly HoldRef[][]> {
    const pipeline = redis.pipeline();
    for (const tenantId of tenants) {
      pipeline.zrangebyscore(tenantKeys(keyPrefix, tenantId).expiries, '-inf', nowMs, 'LIMIT', 0, limit);
    }
    const replies = (await pipeline.exec()) ?? [];
    return replies.map(([error, jobIds], i) => {
      if (error) throw error;
      return (jobIds as string[]).map((jobId) => ({ tenantId: tenants[i] ?? '', jobId }));
    });
  }

  return async function expiredHolds({ nowMs, limit }: { nowMs?: number; limit: number }): Promise<readonly HoldRef[]> {
    const beforeMs = nowMs ?? (await redisNowMs(redis));
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

async function redisNowMs(redis: RedisConnection): Promise<number> {
  const [seconds, microseconds] = await redis.time();
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}
