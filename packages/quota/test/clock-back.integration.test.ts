import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { BEGIN_MS, openClockedRedis, type ClockedRedis } from './property/clocked-redis.js';
import { PERIOD_MS } from './property/plans.js';
import { loadTenant, namesOf, onTenant, openHold, quotaLimit, reservation } from './tenants.js';

let redis: ClockedRedis;
beforeAll(async () => {
  redis = await openClockedRedis();
});
afterAll(() => redis.close());

/** A quota under which two periods meet at `BEGIN_MS`. */
function scopes() {
  const [startsAtMs, endsAtMs] = [BEGIN_MS - PERIOD_MS, BEGIN_MS];
  const period = { id: '2031-01', startsAtMs, endsAtMs, nextId: '2031-02', nextEndsAtMs: BEGIN_MS + PERIOD_MS };
  return onTenant(quotaLimit(100, { period }));
}

describe("a tenant that is loaded when Redis' clock was set back out of a period", () => {
  it('does not get back in that period what its counters never held', async () => {
    const { quota } = redis.control();
    await redis.setClock(BEGIN_MS - 1);
    const openHolds = [openHold('a', { amounts: { tokens: 60, nanoUsd: 0 }, acceptedAtMs: BEGIN_MS + 5 })];
    await loadTenant(quota, 'acme', scopes(), { openHolds, cover: namesOf(scopes()) });
    await redis.setClock(BEGIN_MS + 10);
    const turned = await quota.reserve(reservation('acme', scopes(), { amounts: { tokens: 100, nanoUsd: 0 } }));
    expect(turned).toMatchObject({ outcome: 'reserved', limits: [{ held: 100 }] });
    await quota.dropHold({ tenantId: 'acme', jobId: 'a' });
    expect(await quota.reserve(reservation('acme', scopes()))).toMatchObject({ outcome: 'refused' });
  });
});
