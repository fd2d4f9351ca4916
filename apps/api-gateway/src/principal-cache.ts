import { isDeepStrictEqual } from 'node:util';
import type { Principal } from '@sluice/store';
import { LRUCache } from 'lru-cache';

export interface PrincipalCacheOptions {
  /** Asks PostgreSQL; undefined when nobody is known by this key. */
  readonly lookUp: (key: string) => Promise<Principal | undefined>;
  /** How long an answer is believed, in milliseconds; what was taken away works at most this much longer. */
  readonly cacheTtlMs: number;
  /** Unix milliseconds. */
  readonly now: () => number;
}

export interface PrincipalCache {
  /**
   * Who is known by a key. While PostgreSQL cannot be asked, those it confirmed before go on working, until they expire.
   *
   * @throws ServiceError `store_unavailable` for a key not seen before, and whatever else `lookUp` throws for it.
   */
  find(key: string): Promise<Principal | undefined>;
}

interface Confirmed {
  readonly principal: Principal;
  readonly confirmedAtMs: number;
}

const MAX_CONFIRMED = 10_000;
/** Keys nobody has are remembered apart and briefly, so that guessing does not push out those of tenants. */
const MAX_UNKNOWN = 10_000;
const UNKNOWN_TTL_MS = 2_000;

/** n.b. by size, each entry being 1: with `max` the room for all entries would be taken at once. */
const one = (): number => 1;

/** Remembers who stands behind an API key, or behind a user of the broker. */
export function createPrincipalCache({ lookUp, cacheTtlMs, now }: PrincipalCacheOptions): PrincipalCache {
  const confirmed = new LRUCache<string, Confirmed>({ maxSize: MAX_CONFIRMED, sizeCalculation: one });
  const unknown = new LRUCache<string, true>({ maxSize: MAX_UNKNOWN, sizeCalculation: one, ttl: UNKNOWN_TTL_MS });
  const lookups = new Map<string, Promise<Principal | undefined>>();

  /** Asks once for all who ask about the same key at the same time. */
  function lookUpOnce(key: string): Promise<Principal | undefined> {
    const current = lookups.get(key);
    if (current) return current;
    const lookup = lookUp(key).finally(() => lookups.delete(key));
    lookups.set(key, lookup);
    return lookup;
  }

  function unexpired(principal: Principal | undefined): Principal | undefined {
    return principal && (principal.expiresAtMs ?? Infinity) > now() ? principal : undefined;
  }

  return {
    async find(key) {
      const known = confirmed.get(key);
      const isFresh = known && performance.now() - known.confirmedAtMs < cacheTtlMs;
      // n.b. an expired one is asked about again: it may have been given more time.
      if (isFresh && unexpired(known.principal)) return known.principal;
      if (unknown.has(key)) return undefined;
      try {
        const found = unexpired(await lookUpOnce(key));
        // The same object while nothing has changed: the limits that follow from it are kept by it.
        const principal = isDeepStrictEqual(found, known?.principal) ? known?.principal : found;
        if (principal) confirmed.set(key, { principal, confirmedAtMs: performance.now() });
        else confirmed.delete(key);
        if (!principal) unknown.set(key, true);
        return principal;
      } catch (error) {
        if (known) return unexpired(known.principal);
        throw error;
      }
    },
  };
}
