import { expect } from '@jest/globals';
import { createQuotaModel, finish, type QuotaImage, type QuotaModel, type Steps } from '../../src/model/index.js';
import type { Quota } from '../../src/index.js';
import { BEGIN_MS, type ClockedRedis, type Dump } from './clocked-redis.js';
import { expectSame } from './comparison.js';
import { endOf } from './ending.js';
import { checkInvariants, type Event } from './invariants.js';
import { SNAPSHOT_TTL_MS, type LedgerJob } from './ledger.js';

export const TENANTS = ['mandant-ü', 'other'] as const;

/** The package on a real Redis, the model of it, and the records beside both. */
export interface World {
  readonly redis: ClockedRedis;
  readonly model: QuotaModel;
  readonly ledgers: ReadonlyMap<string, Map<string, LedgerJob>>;
  /** Which outcomes were met. */
  readonly seen: Set<string>;
  dump: Dump;
  /** What was saved last, and when. */
  saved: { readonly image: QuotaImage; readonly atMs: number } | undefined;
  /** Parts of job ids, so that jobs of before a loss are others. */
  generation: number;
  /** The token that the next load of the model gets: the one that the package chose. */
  token: string;
}

export async function openWorld(redis: ClockedRedis, seen: Set<string>): Promise<World> {
  await redis.flush();
  await redis.setClock(BEGIN_MS);
  const world: World = {
    ...{ redis, seen, ledgers: new Map(TENANTS.map((tenantId) => [tenantId, new Map()])), dump: await redis.dump() },
    ...{ saved: undefined, generation: 0, token: '' },
    model: createQuotaModel({ newId: () => world.token, snapshotTtlMs: SNAPSHOT_TTL_MS }),
  };
  return world;
}

export function ledgerOf({ ledgers }: World, tenantId: string): Map<string, LedgerJob> {
  const ledger = ledgers.get(tenantId);
  if (!ledger) throw new Error(`there is no tenant ${tenantId}`);
  return ledger;
}

/** Calls the package and the model; both must end alike. Undefined when both fail. */
export async function both<T>(
  world: World,
  real: (quota: Quota) => Promise<T>,
  modelled: (model: QuotaModel, nowMs: number) => Steps<T> | T,
): Promise<T | undefined> {
  const answered = await endOf(() => real(world.redis.control().quota));
  const nowMs = world.redis.nowMs();
  const expected = await endOf(() => {
    const made = modelled(world.model, nowMs);
    return isSteps(made) ? finish(made, () => nowMs) : made;
  });
  expect(answered).toEqual(expected);
  if ('error' in answered) world.seen.add(answered.error);
  return 'value' in answered ? answered.value : undefined;
}

function isSteps<T>(made: Steps<T> | T): made is Steps<T> {
  return typeof made === 'object' && made !== null && 'next' in made;
}

/** After each command: Redis keeps what the model does, and what always holds does. */
export async function check(world: World, event: Event): Promise<void> {
  const before = world.dump;
  world.dump = await world.redis.dump();
  for (const tenantId of TENANTS) expectSame({ ...world, nowMs: world.redis.nowMs() }, tenantId);
  checkInvariants({ before, after: world.dump, event, nowMs: world.redis.nowMs(), tenants: TENANTS });
}
