import { ServiceError } from '@sluice/contracts';
import type { Principal, Store } from '@sluice/store';
import { createPrincipalCache } from './principal-cache.js';

export interface ProducersOptions {
  readonly store: Pick<Store, 'findProducer'>;
  /** How long an answer of PostgreSQL is believed, in milliseconds. */
  readonly cacheTtlMs: number;
  /** Unix milliseconds; keys of producers expire by it. */
  readonly now: () => number;
}

/** Other services that submit jobs over AMQP. */
export interface Producers {
  /**
   * For whom a user of the broker submits. `userId` must be what the broker has checked; empty when the message names
   * nobody.
   *
   * @throws ServiceError `unauthenticated`, `forbidden`, or `store_unavailable` for a user not seen before.
   */
  authenticate(userId: string): Promise<Principal>;
}

export function createProducers({ store, cacheTtlMs, now }: ProducersOptions): Producers {
  const users = createPrincipalCache({ lookUp: (userId) => store.findProducer(userId), cacheTtlMs, now });
  return {
    async authenticate(userId) {
      if (userId === '') {
        throw new ServiceError('unauthenticated', "Set user_id to the connection's user.", {
          fields: [{ field: 'user_id', reason: 'is missing' }],
        });
      }
      const principal = await users.find(userId);
      if (principal) return principal;
      throw new ServiceError('forbidden', 'This user of the broker is no producer of any tenant, or not any more.', {
        fields: [{ field: 'user_id', reason: 'names no producer' }],
      });
    },
  };
}
