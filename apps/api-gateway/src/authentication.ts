import { ServiceError } from '@sluice/contracts';
import type { Principal, Store } from '@sluice/store';
import { hashApiKey } from './api-keys.js';
import { createPrincipalCache } from './principal-cache.js';

export interface AuthenticationOptions {
  readonly store: Pick<Store, 'findPrincipal'>;
  readonly pepper: string;
  /** How long an answer of PostgreSQL is believed, in milliseconds; a revoked key works at most this much longer. */
  readonly cacheTtlMs: number;
  /** Unix milliseconds; keys expire by it. */
  readonly now: () => number;
}

export interface Authentication {
  /**
   * Who holds the key of an `Authorization: Bearer <key>` header. While PostgreSQL cannot be asked, keys it confirmed
   * before go on working until they expire.
   *
   * @throws ServiceError `unauthenticated`, or `store_unavailable` for a key not seen before.
   */
  authenticate(authorization: string | undefined): Promise<Principal>;
}

const BEARER = /^Bearer +([\x21-\x7e]{8,256})$/i;

export function createAuthentication({ store, pepper, cacheTtlMs, now }: AuthenticationOptions): Authentication {
  const keys = createPrincipalCache({
    cacheTtlMs,
    now,
    lookUp: (hash) => store.findPrincipal(Buffer.from(hash, 'base64')),
  });

  return {
    async authenticate(authorization) {
      const key = readBearer(authorization);
      const principal = await keys.find(hashApiKey(key, pepper).toString('base64'));
      if (!principal) throw new ServiceError('unauthenticated', 'The API key is unknown, expired or revoked.');
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
