import type { Quota } from '@sluice/quota';
import type { Store } from '@sluice/store';
import { driftOf, measuresOf, unknownHolds, type Observation, type TenantDrift } from './drift.js';

/** Jobs accepted less than this before a look may not be held yet, in milliseconds: their gateways' clocks are not exact. */
const GRACE_MS = 30_000;

export interface DriftLookOptions {
  readonly store: Pick<Store, 'quotaFacts' | 'terminalFacts'>;
  readonly quota: Pick<Quota, 'inspect'>;
  /** The clock of Redis, by which jobs are dated and periods end (Unix milliseconds). */
  readonly redisNowMs: () => Promise<number>;
}

/** What a look at a tenant found. */
export interface TenantLook extends TenantDrift {
  /** Jobs that are held and that the books do not know, yet or ever. */
  readonly unknown: readonly string[];
}

/** Compares what Redis and the books say of a tenant now; undefined for a tenant that is not loaded. */
export async function lookForDrift(
  { store, quota, redisNowMs }: DriftLookOptions,
  tenantId: string,
): Promise<TenantLook | undefined> {
  const beganAtMs = await redisNowMs();
  const before = await quota.inspect(tenantId);
  if (before === undefined) return undefined;
  const measures = measuresOf(before, beganAtMs + GRACE_MS);
  const endedBefore = await store.terminalFacts([...before.holds.keys()]);
  const facts = await store.quotaFacts({ tenantId, measures });
  const after = await quota.inspect(tenantId);
  if (after === undefined) return undefined;
  const open = new Set(facts.openHolds.map(({ jobId }) => jobId));
  const endedAfter = await store.terminalFacts([...after.holds.keys()].filter((jobId) => !open.has(jobId)));
  const observation: Observation = { before, beganAtMs, endedBefore, measures, facts, after, endedAfter };
  return { ...driftOf(observation, GRACE_MS), unknown: unknownHolds(observation, GRACE_MS) };
}
