import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { useBooks } from './support.js';

const books = useBooks();
const ACME = { tenantId: 'acme', plan: 'free', timeZone: 'Europe/Berlin' };
const OVERRIDES = {
  limits: { moneyPerMonth: { usd: '5.00', alertAtPercent: [80, 50] }, tokensPerDay: null },
  perModel: { '*': { requestsPerMinute: 7 } },
  estimate: 'learned',
};

async function newKey(limits?: unknown): Promise<{ keyHash: Buffer; apiKeyId: string }> {
  const keyHash = randomBytes(32);
  const key = { tenantId: 'acme', name: 'ci', prefix: 'sk_1', keyHash, ...(limits !== undefined && { limits }) };
  return { keyHash, ...(await books.store.createApiKey(key)) };
}

interface VersionRow {
  readonly plan: string;
  readonly time_zone: string;
  readonly overrides: unknown;
  readonly is_open: boolean;
  readonly follows: boolean | null;
}

/** What is known of a tenant's past, oldest first; `follows`: begins where the one before ended. */
const history = (): Promise<VersionRow[]> =>
  books.query(
    `SELECT plan, time_zone, overrides, upper_inf(valid) AS is_open,
            lower(valid) = lag(upper(valid)) OVER (ORDER BY valid) AS follows
     FROM tenant_versions WHERE tenant_id = 'acme' ORDER BY valid`,
  );

describe('overrides and key limits', () => {
  it('are kept as they were written and read by requests as they are meant', async () => {
    await books.store.upsertTenant({ ...ACME, overrides: OVERRIDES });
    const limits = { moneyPerMonth: '0.10', concurrentJobs: null };
    const { keyHash, apiKeyId } = await newKey(limits);
    expect(await books.store.findTenant('acme')).toMatchObject({ ...ACME, overrides: OVERRIDES });
    expect(await books.store.listApiKeys('acme')).toMatchObject([
      { apiKeyId, name: 'ci', prefix: 'sk_1', limits, keyLimits: { moneyPerMonth: 100_000_000, concurrentJobs: null } },
    ]);
    expect(await books.store.findPrincipal(keyHash)).toEqual({
      ...ACME,
      apiKeyId,
      overrides: {
        limits: { moneyPerMonth: { max: 5_000_000_000, alertAtPercent: [50, 80], soft: false }, tokensPerDay: null },
        perModel: { '*': { requestsPerMinute: 7 } },
        estimate: { quantile: 0.95, floorTokens: 16 },
      },
      keyLimits: { moneyPerMonth: 100_000_000, concurrentJobs: null },
    });
  });

  it('stay when a change does not speak of them, and go when it is empty', async () => {
    await books.store.upsertTenant({ ...ACME, overrides: OVERRIDES });
    await books.store.upsertTenant({ ...ACME, plan: 'team' });
    expect(await books.store.findTenant('acme')).toMatchObject({ plan: 'team', overrides: OVERRIDES });
    await books.store.upsertTenant({ ...ACME, overrides: {} });
    expect(await books.store.findTenant('acme')).toMatchObject({ plan: 'free', overrides: {} });
  });

  it('are refused when they could not be read again, and then nothing is stored', async () => {
    for (const overrides of [null, [], 'x', { limits: { tokensPerDay: 0 } }, { perKey: {} }, { estimate: 'wild' }]) {
      await expect(books.store.upsertTenant({ ...ACME, overrides })).rejects.toMatchObject({ code: 'invalid_request' });
    }
    expect(await books.store.findTenant('acme')).toBeUndefined();
    await books.store.upsertTenant(ACME);
    const wrong = { moneyPerMonth: 5, tokensPerMinute: -1 };
    const refusal = { code: 'invalid_request', fields: expect.arrayContaining([expect.anything()]) as unknown };
    await expect(newKey(wrong)).rejects.toMatchObject(refusal);
    await expect(newKey({ tokensPerMinute: -1 })).rejects.toMatchObject({
      fields: [{ field: 'limits.tokensPerMinute', reason: expect.any(String) as unknown }],
    });
    expect(await books.store.listApiKeys('acme')).toEqual([]);
  });

  it('that cannot be read any more refuse requests, while operators still see and mend them', async () => {
    await books.store.upsertTenant(ACME);
    const { keyHash, apiKeyId } = await newKey();
    await books.store.upsertProducer({ userId: 'crm', tenantId: 'acme' });
    await books.query(`UPDATE tenants SET overrides = '{"limits": {"tokensPerFortnight": 1}}'`);
    const refusal = { code: 'quota_unavailable', status: 503 };
    await expect(books.store.findPrincipal(keyHash)).rejects.toMatchObject(refusal);
    await expect(books.store.findProducer('crm')).rejects.toMatchObject(refusal);
    expect(await books.store.findTenant('acme')).toMatchObject({ overrides: { limits: { tokensPerFortnight: 1 } } });
    await books.store.upsertTenant({ ...ACME, overrides: {} });
    expect(await books.store.findPrincipal(keyHash)).toMatchObject({ apiKeyId });

    await books.query(`UPDATE api_keys SET limits = '{"tokensPerFortnight": 1}' WHERE api_key_id = $1`, [apiKeyId]);
    await expect(books.store.findPrincipal(keyHash)).rejects.toMatchObject(refusal);
    const [key] = await books.store.listApiKeys('acme');
    expect(key).toMatchObject({ limits: { tokensPerFortnight: 1 }, keyLimits: undefined });
  });
});

describe('tenants', () => {
  it('keep their calendar when a change does not speak of it, and begin with that of UTC', async () => {
    const { timeZone: _timeZone, ...plain } = ACME;
    await books.store.upsertTenant({ ...plain, tenantId: 'new' });
    expect(await books.store.findTenant('new')).toMatchObject({ timeZone: 'UTC' });
    await books.store.upsertTenant({ ...ACME, timeZone: 'Asia/Kolkata' });
    await books.store.upsertTenant({ ...plain, plan: 'team' });
    expect(await books.store.findTenant('acme')).toMatchObject({ plan: 'team', timeZone: 'Asia/Kolkata' });
  });

  it('are listed in pages by id', async () => {
    const ids = ['b', 'a', 'B', 'a-1', 'z'];
    for (const tenantId of ids) await books.store.upsertTenant({ ...ACME, tenantId });
    const first = await books.store.listTenants({ limit: 3 });
    expect(first.map(({ tenantId }) => tenantId)).toEqual(['B', 'a', 'a-1']);
    const rest = await books.store.listTenants({ after: 'a-1', limit: 3 });
    expect(rest.map(({ tenantId }) => tenantId)).toEqual(['b', 'z']);
    expect(first[0]).toEqual({
      ...ACME,
      tenantId: 'B',
      overrides: {},
      createdAtMs: expect.any(Number) as unknown,
      updatedAtMs: expect.any(Number) as unknown,
    });
  });

  it('have a history without gaps, in which what changes nothing does not appear', async () => {
    await books.store.upsertTenant(ACME);
    await books.store.upsertTenant(ACME);
    await books.store.upsertTenant({ ...ACME, plan: 'team' });
    await books.store.upsertTenant({ ...ACME, plan: 'team', overrides: OVERRIDES });
    await books.store.upsertTenant({ ...ACME, plan: 'team', timeZone: 'Asia/Kathmandu' });
    expect(await history()).toEqual([
      { plan: 'free', time_zone: 'Europe/Berlin', overrides: {}, is_open: false, follows: null },
      { plan: 'team', time_zone: 'Europe/Berlin', overrides: {}, is_open: false, follows: true },
      { plan: 'team', time_zone: 'Europe/Berlin', overrides: OVERRIDES, is_open: false, follows: true },
      { plan: 'team', time_zone: 'Asia/Kathmandu', overrides: OVERRIDES, is_open: true, follows: true },
    ]);
  });

  it('have one history however many change them at once and in one transaction', async () => {
    const other = await books.another();
    await books.store.upsertTenant(ACME);
    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        (index % 2 ? other : books.store).upsertTenant({ ...ACME, plan: `plan-${index}` }),
      ),
    );
    await books.query(`BEGIN; UPDATE tenants SET plan = 'x'; UPDATE tenants SET plan = 'y'; COMMIT`);
    const versions = await history();
    expect(versions).toHaveLength(23);
    expect(versions.filter(({ is_open }) => is_open)).toMatchObject([{ plan: 'y' }]);
    expect(versions.slice(1).every(({ follows }) => follows === true)).toBe(true);
    await expect(books.query(`DELETE FROM tenant_versions`)).rejects.toMatchObject({ code: '23001' });
    await expect(books.query(`UPDATE tenant_versions SET plan = 'z'`)).rejects.toMatchObject({ code: '23001' });
  });
});

describe('API keys', () => {
  it('are all listed, oldest first, also those that are not valid any more', async () => {
    await books.store.upsertTenant(ACME);
    await books.store.upsertTenant({ ...ACME, tenantId: 'other' });
    const first = await newKey();
    const second = await newKey();
    await books.store.createApiKey({
      tenantId: 'acme',
      name: 'n',
      prefix: 'p',
      keyHash: randomBytes(32),
      expiresAtMs: 5,
    });
    await books.store.createApiKey({ tenantId: 'other', name: 'n', prefix: 'p', keyHash: randomBytes(32) });
    await books.store.revokeApiKey(first.apiKeyId);
    const keys = await books.store.listApiKeys('acme');
    expect(keys.map(({ apiKeyId }) => apiKeyId).slice(0, 2)).toEqual([first.apiKeyId, second.apiKeyId]);
    expect(keys).toMatchObject([
      { revokedAtMs: expect.any(Number) as unknown, expiresAtMs: undefined, producer: undefined },
      { revokedAtMs: undefined },
      { revokedAtMs: undefined, expiresAtMs: 5 },
    ]);
    expect(await books.store.revokeApiKey('nonsense')).toBe(false);
  });

  it('tell until when they may be used, also those of producers', async () => {
    await books.store.upsertTenant(ACME);
    const { keyHash, apiKeyId } = await newKey();
    expect(await books.store.findPrincipal(keyHash)).not.toHaveProperty('expiresAtMs');
    const expiresAtMs = Date.now() + 60_000;
    await books.store.updateApiKey({ apiKeyId, expiresAtMs });
    expect(await books.store.findPrincipal(keyHash)).toMatchObject({ expiresAtMs });
    await books.store.updateApiKey({ apiKeyId, expiresAtMs: 5 });
    expect(await books.store.findPrincipal(keyHash)).toBeUndefined();
    const producer = await books.store.upsertProducer({ userId: 'crm', tenantId: 'acme' });
    await books.store.updateApiKey({ apiKeyId: producer.apiKeyId, expiresAtMs: 5 });
    expect(await books.store.findProducer('crm')).toMatchObject({ expiresAtMs: 5 });
  });

  it('are changed in what a change speaks of, unless they were revoked', async () => {
    await books.store.upsertTenant(ACME);
    const { apiKeyId } = await newKey({ tokensPerDay: 5 });
    const before = (await books.store.listApiKeys('acme'))[0];
    expect(await books.store.updateApiKey({ apiKeyId })).toEqual({ ...before, tenantId: 'acme' });
    const limits = { moneyPerMonth: '0.10' };
    const changed = await books.store.updateApiKey({ apiKeyId, name: 'new', limits, expiresAtMs: 9_999_999_999_999 });
    expect(changed).toMatchObject({ name: 'new', limits, keyLimits: { moneyPerMonth: 100_000_000 } });
    expect(await books.store.listApiKeys('acme')).toMatchObject([{ name: 'new', expiresAtMs: 9_999_999_999_999 }]);
    const cleared = await books.store.updateApiKey({ apiKeyId, limits: {}, expiresAtMs: null });
    expect(cleared).toMatchObject({ name: 'new', limits: {}, expiresAtMs: undefined });
    await expect(books.store.updateApiKey({ apiKeyId, limits: { moneyPerMonth: 5 } })).rejects.toMatchObject({
      code: 'invalid_request',
    });
    await books.store.revokeApiKey(apiKeyId);
    expect(await books.store.updateApiKey({ apiKeyId, name: 'late' })).toBeUndefined();
    expect(await books.store.updateApiKey({ apiKeyId: 'nonsense' })).toBeUndefined();
  });
});

describe('producers', () => {
  it('submit for a tenant under a key of their own that nobody can present', async () => {
    await books.store.upsertTenant({ ...ACME, overrides: { limits: { concurrentJobs: 3 } } });
    const { apiKeyId } = await books.store.upsertProducer({ userId: 'crm', tenantId: 'acme' });
    expect(await books.store.findProducer('crm')).toEqual({
      ...ACME,
      apiKeyId,
      overrides: { limits: { concurrentJobs: 3 } },
      keyLimits: {},
    });
    expect(await books.store.listApiKeys('acme')).toMatchObject([{ apiKeyId, name: 'producer crm', producer: 'crm' }]);
    expect(await books.store.listProducers('acme')).toMatchObject([{ userId: 'crm', tenantId: 'acme', apiKeyId }]);
    expect(await books.store.findProducer('nobody')).toBeUndefined();
    await expect(books.store.upsertProducer({ userId: 'x', tenantId: 'nobody' })).rejects.toMatchObject({
      code: 'tenant_not_found',
    });
  });

  it('keep their key when they are registered again, by several programs at once', async () => {
    await books.store.upsertTenant(ACME);
    const other = await books.another();
    const calls = Array.from({ length: 12 }, (_, index) =>
      (index % 2 ? other : books.store).upsertProducer({ userId: 'crm', tenantId: 'acme' }),
    );
    const ids = new Set((await Promise.all(calls)).map(({ apiKeyId }) => apiKeyId));
    expect(ids.size).toBe(1);
    expect(await books.store.listApiKeys('acme')).toHaveLength(1);
  });

  it('get a new key with another tenant and after theirs was revoked; the old one is not valid any more', async () => {
    await books.store.upsertTenant(ACME);
    await books.store.upsertTenant({ ...ACME, tenantId: 'other' });
    const first = await books.store.upsertProducer({ userId: 'crm', tenantId: 'acme' });
    const moved = await books.store.upsertProducer({ userId: 'crm', tenantId: 'other' });
    expect(moved.apiKeyId).not.toBe(first.apiKeyId);
    expect(await books.store.findProducer('crm')).toMatchObject({ tenantId: 'other', apiKeyId: moved.apiKeyId });
    expect(await books.store.listProducers('acme')).toEqual([]);
    expect(await books.store.revokeApiKey(first.apiKeyId)).toBe(false);

    expect(await books.store.revokeApiKey(moved.apiKeyId)).toBe(true);
    expect(await books.store.findProducer('crm')).toBeUndefined();
    const again = await books.store.upsertProducer({ userId: 'crm', tenantId: 'other' });
    expect(await books.store.findProducer('crm')).toMatchObject({ apiKeyId: again.apiKeyId });
  });

  it('cannot submit once they are deleted', async () => {
    await books.store.upsertTenant(ACME);
    const { apiKeyId } = await books.store.upsertProducer({ userId: 'crm', tenantId: 'acme' });
    expect(await books.store.deleteProducer('crm')).toBe(true);
    expect(await books.store.deleteProducer('crm')).toBe(false);
    expect(await books.store.findProducer('crm')).toBeUndefined();
    expect(await books.store.listApiKeys('acme')).toMatchObject([
      { apiKeyId, producer: undefined, revokedAtMs: expect.any(Number) as unknown },
    ]);
  });
});
