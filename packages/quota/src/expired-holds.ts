import type { Redis } from 'ioredis';
import { tenantKeys, tenantsKey } from './keys.js';

/** Names a hold. */
export interface HoldRef {
  readonly tenantId: string;
  readonly jobId: string;
}

/** Tenants looked at in one round trip, about. */
const PAGE = 100;

/**
 * Makes the search for expired holds: page by page through the set of tenants. A call ends with `limit` holds or at the
 * end of the set; the next one goes on from there.
 */
export function createExpiredHolds(redis: Redis, keyPrefix: string) {
  let cursor = '0';

  return async function expiredHolds(query: { nowMs?: number; limit: number }): Promise<readonly HoldRef[]> {
    const nowMs = query.nowMs ?? (await redisNowMs(redis));
    const found: HoldRef[] = [];
    do {
      const [next, tenants] = await redis.sscan(tenantsKey(keyPrefix), cursor, 'COUNT', PAGE);
      found.push(...(await expiredOf(redis, keyPrefix, tenants, { nowMs, limit: query.limit - found.length })));
      cursor = next;
    } while (found.length < query.limit && cursor !== '0');
    return found;
  };
}

async function expiredOf(
  redis: Redis,
  keyPrefix: string,
  tenants: readonly string[],
  { nowMs, limit }: { nowMs: number; limit: number },
): Promise<readonly HoldRef[]> {
  const pipeline = redis.pipeline();
  for (const tenantId of tenants) {
    pipeline.zrangebyscore(tenantKeys(keyPrefix, tenantId).expiries, '-inf', nowMs, 'LIMIT', 0, limit);
  }
  const replies = (await pipeline.exec()) ?? [];
  // The oldest of each tenant come first, so that a tenant with many does not hide the others.
  return replies
    .flatMap(([error, jobIds], i) => {
      if (error) throw error;
      return (jobIds as string[]).map((jobId, rank) => ({ rank, tenantId: tenants[i] ?? '', jobId }));
    })
    .sort((a, b) => a.rank - b.rank)
    .slice(0, limit)
    .map(({ tenantId, jobId }) => ({ tenantId, jobId }));
}

async function redisNowMs(redis: Redis): Promise<number> {
  const [seconds, microseconds] = await redis.time();
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}
