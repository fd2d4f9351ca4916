import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { closeRedis, createQuota, type LoadTicket, type Quota } from '../src/index.js';
import { everything, logger, openTestRedis, openTestSpace } from './redis.js';
import * as tenants from './tenants.js';
import { API_KEY, inFlightLimit, MODEL, onScope, onTenant, quotaLimit, rateLimit } from './tenants.js';

let space: Awaited<ReturnType<typeof openTestSpace>>;
let quota: Quota;
let count = 0;
beforeAll(async () => {
  space = await openTestSpace();
  quota = createQuota({ redis: space.redis, keyPrefix: space.keyPrefix, logger });
});
afterAll(() => space.close());

const SCOPES = [
  ...onTenant(quotaLimit(100), rateLimit(50)),
  onScope('apiKey', API_KEY, inFlightLimit(5, { name: 'key:jobs' })),
  onScope('model', MODEL, quotaLimit(10, { name: 'model:quota' })),
];
const newTenant = (): string => `tenant-${count++}`;
const finish = (ticket: LoadTicket, cover = tenants.namesOf(SCOPES)) =>
  quota.load({ ticket, scopes: SCOPES, cover, posted: [], openHolds: [] });
const ticketOf = (begun: LoadTicket | string): LoadTicket => {
  if (typeof begun === 'string') throw new Error(`${begun}, where a ticket was expected`);
  return begun;
};

describe('a load that is begun only where it is needed', () => {
  it('changes nothing of a tenant that knows all these limits, by their states or as unused', async () => {
    const tenantId = newTenant();
    await tenants.loadTenant(quota, tenantId, SCOPES, { openHolds: [tenants.openHold('a')] });
    const before = await everything(space, tenantId);
    const elsewhere = [...SCOPES, onScope('model', 'fresh', quotaLimit(10, { name: 'model:quota' }))];
    expect(await quota.beginLoad(tenantId, SCOPES)).toBe('loaded');
    expect(await quota.beginLoad(tenantId, elsewhere)).toBe('loaded');
    expect(await quota.beginLoad(tenantId, [])).toBe('loaded');
    expect(await everything(space, tenantId)).toEqual(before);
  });

  it.each([
    ['a limit of a subject with a state', onTenant(quotaLimit(100), inFlightLimit(9))],
    ['a limit of a subject without one', [onScope('model', 'fresh', rateLimit(9, { name: 'model:rate' }))]],
    ['a limit that has become one of another kind', onTenant(rateLimit(9, { name: 'quota' }))],
  ])('begins when the tenant is loaded and does not know %s', async (_, limits) => {
    const tenantId = newTenant();
    await tenants.loadTenant(quota, tenantId, SCOPES, { openHolds: [tenants.openHold('a')] });
    expect(await quota.status(tenantId, limits)).toBeUndefined();
    const ticket = ticketOf(await quota.beginLoad(tenantId, limits));
    expect(await quota.status(tenantId, SCOPES)).toBeUndefined();
    expect(await finish(ticket)).toBe('loaded');
  });

  it('leaves another load alone until that ends, is given up, or is lost', async () => {
    const tenantId = newTenant();
    const first = ticketOf(await quota.beginLoad(tenantId, SCOPES));
    expect(await quota.beginLoad(tenantId, SCOPES)).toBe('busy');
    await quota.leaveLoad(first);
    const second = ticketOf(await quota.beginLoad(tenantId, SCOPES));
    await quota.leaveLoad(first);
    expect(await quota.keepLoad(first)).toBe(false);
    expect(await quota.beginLoad(tenantId, SCOPES)).toBe('busy');
    expect(await finish(first)).toBe('superseded');
    await quota.unload(tenantId);
    const third = ticketOf(await quota.beginLoad(tenantId, SCOPES));
    expect(await finish(second)).toBe('superseded');
    expect(await finish(third)).toBe('loaded');
    expect(await quota.beginLoad(tenantId, SCOPES)).toBe('loaded');
    await quota.unload(tenantId);
    const fourth = await quota.beginLoad(tenantId);
    expect(await quota.beginLoad(tenantId, SCOPES)).toBe('busy');
    const fifth = await quota.beginLoad(tenantId);
    expect(await finish(fourth)).toBe('superseded');
    expect(await finish(fifth)).toBe('loaded');
  });

  it('takes over from one that gave no sign for two seconds, or seems to have given it in the future', async () => {
    const tenantId = newTenant();
    const key = space.key(tenantId, 'load');
    const silent = ticketOf(await quota.beginLoad(tenantId, SCOPES));
    const until = Number(await space.redis.hget(key, 'until'));
    expect(await quota.keepLoad(silent)).toBe(true);
    expect(Number(await space.redis.hget(key, 'until'))).toBeGreaterThanOrEqual(until);
    await space.redis.hset(key, 'until', until - 2_001);
    const next = ticketOf(await quota.beginLoad(tenantId, SCOPES));
    expect(await finish(silent)).toBe('superseded');
    await space.redis.hset(key, 'until', until + 3_600_000);
    expect(await finish(ticketOf(await quota.beginLoad(tenantId, SCOPES)))).toBe('loaded');
    expect(await finish(next)).toBe('superseded');
  });

  it('does not wait for a load that another process of Redis knew', async () => {
    const tenantId = newTenant();
    const ticket = ticketOf(await quota.beginLoad(tenantId, SCOPES));
    await space.redis.hset(space.key(tenantId, 'load'), 'ticket', `${ticket.token} ${'0'.repeat(40)}`);
    expect(await finish(ticketOf(await quota.beginLoad(tenantId, SCOPES)))).toBe('loaded');
  });

  it('is begun once when ten ask at the same moment', async () => {
    const tenantId = newTenant();
    const connections = await Promise.all(Array.from({ length: 10 }, () => openTestRedis()));
    const quotas = connections.map((redis) => createQuota({ redis, keyPrefix: space.keyPrefix, logger }));
    const begun = await Promise.all(quotas.map((each) => each.beginLoad(tenantId, SCOPES)));
    expect(begun.filter((answer) => answer === 'busy')).toHaveLength(9);
    const [ticket] = begun.filter((answer) => typeof answer !== 'string');
    expect(ticket && (await finish(ticket))).toBe('loaded');
    const answers = await Promise.all(quotas.map((each) => each.beginLoad(tenantId, SCOPES)));
    expect(new Set(answers)).toEqual(new Set(['loaded']));
    await Promise.all(connections.map(closeRedis));
  });
});
