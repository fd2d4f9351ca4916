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

interface Confirmed {
  readonly principal: Principal;
  readonly confirmedAtMs: number;
}

const MAX_CONFIRMED_KEYS = 10_000;
/** Keys nobody has are remembered apart and briefly, so that guessing does not push out the keys of tenants. */
const MAX_UNKNOWN_KEYS = 10_000;
const UNKNOWN_TTL_MS = 2_000;
const BEARER = /^Bearer +([\x21-\x7e]{8,256})$/i;

export function createAuthentication({ store, pepper, cacheTtlMs }: AuthenticationOptions): Authentication {
  const confirmed = new LRUCache<string, Confirmed>({ max: MAX_CONFIRMED_KEYS });
  const unknown = new LRUCache<string, true>({ max: MAX_UNKNOWN_KEYS, ttl: UNKNOWN_TTL_MS });
  const lookups = new Map<string, Promise<Principal | undefined>>();

  /** Asks PostgreSQL, once for all who ask about the same key at the same time. */
  function lookUp(hash: string): Promise<Principal | undefined> {
    const current = lookups.get(hash);
    if (current) return current;
    const lookup = store.findPrincipal(Buffer.from(hash, 'base64')).finally(() => lookups.delete(hash));
    lookups.set(hash, lookup);
    return lookup;
  }

  async function findPrincipal(hash: string): Promise<Principal | undefined> {
    const known = confirmed.get(hash);
    if (known && performance.now() - known.confirmedAtMs < cacheTtlMs) return known.principal;
    if (unknown.has(hash)) return undefined;
    try {
      const principal = await lookUp(hash);
      if (principal) confirmed.set(hash, { principal, confirmedAtMs: performance.now() });
      else confirmed.delete(hash);
      if (!principal) unknown.set(hash, true);
      return principal;
    } catch (error) {
      if (known) return known.principal;
      throw error;
    }
  }

  return {
    async authenticate(authorization) {
      const key = readBearer(authorization);
      const principal = await findPrincipal(hashApiKey(key, pepper).toString('base64'));
      if (!principal) throw new ServiceError('unauthenticated', 'The API key is unknown or revoked.');
      return principal;
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
