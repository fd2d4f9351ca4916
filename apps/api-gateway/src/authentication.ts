import { ServiceError } from '@sluice/contracts';
import type { Principal, Store } from '@sluice/store';
import { LRUCache } from 'lru-cache';
import { hashApiKey } from './api-keys.js';

export interface AuthenticationOptions {
  readonly store: Pick<Store, 'findPrincipal'>;
  readonly pepper: string;
  /** How long an answer of PostgreSQL is believed, in milliseconds; a revoked key works at most this much longer. */
  readonly cacheTtlMs: number;
}

export interface Authentication {
  /**
   * Who holds the key of an `Authorization: Bearer <key>` header. While PostgreSQL cannot be asked, keys it confirmed
   * before go on working.
   *
   * @throws ServiceError `unauthenticated`, or `store_unavailable` for a key not seen before.
   */
  authenticate(authorization: string | undefined): Promise<Principal>;
}

type CacheEntry = { readonly principal: Principal | undefined };

const RETRY_SOON = { retryAfterSeconds: 1 };
const MAX_CACHED_KEYS = 10_000;
const BEARER = /^Bearer +([\x21-\x7e]{8,256})$/i;

export function createAuthentication({ store, pepper, cacheTtlMs }: AuthenticationOptions): Authentication {
  const cache = new LRUCache<string, CacheEntry>({
    max: MAX_CACHED_KEYS,
    ttl: cacheTtlMs,
    allowStaleOnFetchRejection: true,
    noDeleteOnFetchRejection: true,
    noDeleteOnStaleGet: true,
    // n.b. fetch() shares one lookup among concurrent callers of the same key.
    fetchMethod: async (hash) => ({ principal: await store.findPrincipal(Buffer.from(hash, 'base64')) }),
  });

  return {
    async authenticate(authorization) {
      const key = readBearer(authorization);
      const hash = hashApiKey(key, pepper).toString('base64');
      const entry = cache.get(hash) ?? (await cache.fetch(hash));
      // n.b. with the options above a failed lookup resolves to nothing when there is no older answer.
      if (!entry) throw new ServiceError('store_unavailable', 'API keys cannot be looked up now.', RETRY_SOON);
      if (!entry.principal) throw new ServiceError('unauthenticated', 'The API key is unknown or revoked.');
      return entry.principal;
    },
  };
}

/** @throws ServiceError `unauthenticated`, saying what is wrong with the header. */
export function readBearer(authorization: string | undefined): string {
  if (authorization === undefined) {
    throw new ServiceError('unauthenticated', 'The Authorization header is missing.', {
      fields: [{ field: 'Authorization', reason: 'is missing' }],
    });
  }
  const key = BEARER.exec(authorization)?.[1];
  if (key === undefined) {
    throw new ServiceError('unauthenticated', 'The Authorization header must be "Bearer <API key>".', {
      fields: [{ field: 'Authorization', reason: 'must be "Bearer <API key>"' }],
    });
  }
  return key;
}
