import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createQuota, type LoadTicket, type Quota } from '../src/index.js';
import { FORMAT } from '../src/scope-state.js';
import { logger, openTestSpace } from './redis.js';
import * as tenants from './tenants.js';
import { onTenant, openHold, quotaLimit } from './tenants.js';

let space: Awaited<ReturnType<typeof openTestSpace>>;
let quota: Quota;
let count = 0;
beforeAll(async () => {
  space = await openTestSpace();
  quota = createQuota({ redis: space.redis, keyPrefix: space.keyPrefix, logger });
});
afterAll(() => space.close());

const SCOPES = onTenant(quotaLimit(100));
const FACTS = { openHolds: [openHold('job')] };
const settled = (tenantId: string) =>
  quota.settle([{ tenantId, jobId: 'job', tokens: 1, nanoUsd: 0, outputTokens: 0, state: 'succeeded' }]);
const finish = (ticket: LoadTicket) => quota.load({ ticket, scopes: SCOPES, cover: ['quota'], posted: [], ...FACTS });

/** Makes a field what another version of the suite would have written on the same Redis. */
async function rewrite(tenantId: string, name: string, field: string, [from, to]: readonly string[]): Promise<void> {
  const key = space.key(tenantId, name);
  const text = (await space.redis.hget(key, field)) ?? '';
  expect(text).toContain(from);
  await space.redis.hset(key, field, text.replace(from ?? '', to ?? ''));
}

describe.each([
  ['a later version in another form', `${FORMAT} `, `${FORMAT + 1} `],
  ['a version from before forms had numbers', `${FORMAT} `, ''],
])('a tenant that was loaded by %s', (_, ...change) => {
  const loadedElsewhere = async (): Promise<string> => {
    const tenantId = `tenant-${count++}`;
    await tenants.loadTenant(quota, tenantId, SCOPES, FACTS);
    await rewrite(tenantId, 'quota', 'loaded', change);
    return tenantId;
  };

  it('is not loaded, and is loaded anew', async () => {
    const tenantId = await loadedElsewhere();
    expect(await quota.reserve(tenants.reservation(tenantId, SCOPES))).toEqual({ outcome: 'not_loaded' });
    expect(await quota.status(tenantId, SCOPES)).toBeUndefined();
    expect(await quota.inspect(tenantId)).toBeUndefined();
    const ticket = await quota.beginLoad(tenantId, SCOPES);
    if (typeof ticket === 'string') throw new Error(`${ticket}, where a ticket was expected`);
    expect(await finish(ticket)).toBe('loaded');
    expect(await quota.reserve(tenants.reservation(tenantId, SCOPES))).toMatchObject({ outcome: 'reserved' });
  });

  it.each([
    ['settled', settled],
    ['released', (tenantId: string) => quota.dropHold({ tenantId, jobId: 'job' })],
  ])('is loaded for nobody once a hold of it was %s, which its limits do not know', async (__, end) => {
    const tenantId = await loadedElsewhere();
    await end(tenantId);
    const left = await space.redis.hkeys(space.key(tenantId, 'quota'));
    expect(left).toEqual(expect.not.arrayContaining(['loaded', 'h:job']));
  });
});

describe('a load by a version with another form', () => {
  it('is not waited for, and is superseded', async () => {
    const tenantId = `tenant-${count++}`;
    const theirs = await quota.beginLoad(tenantId);
    await rewrite(tenantId, 'load', 'ticket', [` ${FORMAT} `, ` ${FORMAT + 1} `]);
    expect(await finish(theirs)).toBe('superseded');
    expect(typeof (await quota.beginLoad(tenantId, SCOPES))).toBe('object');
  });

  it('is not given a note that it cannot read, but begins anew', async () => {
    const tenantId = `tenant-${count++}`;
    await quota.beginLoad(tenantId);
    await rewrite(tenantId, 'load', 'ticket', [` ${FORMAT} `, ` ${FORMAT + 1} `]);
    expect(await settled(tenantId)).toEqual(['early']);
    expect(await space.redis.exists(space.key(tenantId, 'load'))).toBe(0);
  });
});
