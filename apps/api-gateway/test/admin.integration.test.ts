import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  ADMIN_KEY,
  administer,
  createFixture,
  createTenant,
  send,
  type Answer,
  type Fixture,
  type Gateway,
} from './gateway-fixture.js';

let fixture: Fixture;
let gateway: Gateway;

beforeAll(async () => {
  fixture = await createFixture();
  gateway = await fixture.startGateway({ SLUICE_KEY_CACHE_TTL: '1ms' });
}, 60_000);
afterAll(() => fixture.close());

const admin = (method: string, path: string, body?: unknown): Promise<unknown> =>
  administer(gateway.url, method, path, body);
function refused(method: string, path: string, body?: unknown): Promise<Answer> {
  const init = { key: ADMIN_KEY, method, ...(body !== undefined && { body: JSON.stringify(body) }) };
  return send(gateway.url, `/v1/admin${path}`, init);
}

describe('a tenant', () => {
  it('is read as it was written, money in dollars; overrides and calendar stay until others replace them', async () => {
    const overrides = { limits: { moneyPerMonth: { usd: '5.00', alertAtPercent: [80] }, tokensPerMinute: null } };
    await admin('PUT', '/tenants/acme', { plan: 'trial', timeZone: 'Europe/Berlin', overrides });
    const written = { id: 'acme', object: 'tenant', plan: 'trial', timeZone: 'Europe/Berlin', overrides };
    expect(await admin('GET', '/tenants/acme')).toMatchObject(written);
    expect(await admin('PUT', '/tenants/acme', { plan: 'demo' })).toMatchObject({ ...written, plan: 'demo' });
    expect(await admin('PUT', '/tenants/fresh', { plan: 'demo' })).toMatchObject({ timeZone: 'UTC', overrides: {} });
    expect(await admin('PUT', '/tenants/acme', { plan: 'demo', overrides: {} })).toMatchObject({ overrides: {} });
  });

  it('has a time zone that PostgreSQL and programs understand alike, as it is spelled', async () => {
    const tenant = (timeZone: string) => ({ plan: 'demo', timeZone });
    expect(await admin('PUT', '/tenants/kyiv', tenant('europe/kyiv'))).toMatchObject({ timeZone: 'Europe/Kyiv' });
    for (const timeZone of ['CET', 'BST', 'Mars/Olympus']) {
      expect(await refused('PUT', '/tenants/kyiv', tenant(timeZone))).toMatchObject({
        status: 400,
        body: { errors: [{ field: 'timeZone', reason: expect.stringContaining('must be an IANA time zone') }] },
      });
    }
    expect(await admin('GET', '/tenants/kyiv')).toMatchObject({ timeZone: 'Europe/Kyiv' });
  });

  it('is listed page by page, in the order of ids', async () => {
    for (const name of ['list-a', 'list-b', 'list-c']) await admin('PUT', `/tenants/${name}`, { plan: 'demo' });
    const ids: string[] = [];
    let cursor = '';
    do {
      const page = (await admin('GET', `/tenants?limit=2${cursor}`)) as {
        readonly data: readonly { readonly id: string }[];
        readonly hasMore: boolean;
        readonly nextCursor: string | null;
      };
      expect(page.data.length).toBeLessThanOrEqual(2);
      expect(page.hasMore).toBe(page.nextCursor !== null);
      ids.push(...page.data.map(({ id }) => id));
      cursor = page.nextCursor === null ? '' : `&cursor=${page.nextCursor}`;
    } while (cursor !== '');
    expect(ids.filter((id) => id.startsWith('list-'))).toEqual(['list-a', 'list-b', 'list-c']);
    expect([...ids].sort()).toEqual(ids);
  });

  it.each([
    ['moneyPerMonth', 5, '', 'must be a decimal string such as "5.00", or { usd, alertAtPercent?, soft? }'],
    ['moneyPerMonth', '-1', '', 'must be a decimal string such as "5.00", with at most 9 places'],
    ['moneyPerMonth', '1e3', '', 'must be a decimal string such as "5.00", with at most 9 places'],
    ['moneyPerMonth', { soft: true }, '.usd', 'is required'],
    [
      'tokensPerDay',
      { max: 5, alertAtPercent: 80 },
      '.alertAtPercent',
      'must be a list of percentages such as [50, 80]',
    ],
    ['tokensPerDay', '5', '', 'must be a whole number, or { max, alertAtPercent?, soft? }'],
  ])('is told what is wrong with %s as %j', async (limit, value, part, reason) => {
    const overrides = { limits: { [limit]: value } };
    const errors = [{ field: `overrides.limits.${limit}${part}`, reason }];
    expect(await refused('PUT', '/tenants/careful', { plan: 'demo', overrides })).toMatchObject({ body: { errors } });
  });

  it('is refused with an override of what is called __proto__', async () => {
    const body = '{"plan":"demo","overrides":{"perModel":{"__proto__":{"tokensPerDay":5}},"estimate":"lerned"}}';
    const answer = await send(gateway.url, '/v1/admin/tenants/careful', { key: ADMIN_KEY, method: 'PUT', body });
    expect(answer).toMatchObject({
      status: 400,
      body: {
        errors: [
          { field: 'overrides.perModel.__proto__', reason: 'is a reserved name' },
          { field: 'overrides.estimate', reason: 'must be exact, learned or { quantile, floorTokens }' },
        ],
      },
    });
  });

  it.each<[string, unknown, string]>([
    ['a number for overrides', 5, 'overrides'],
    ['an unknown part', { limitz: {} }, 'overrides.limitz'],
    ['an unknown limit', { limits: { tokensPerWeek: 1 } }, 'overrides.limits.tokensPerWeek'],
    ['a limit of nothing', { limits: { tokensPerMinute: 0 } }, 'overrides.limits.tokensPerMinute'],
    ['money as a number', { perApiKey: { moneyPerMonth: 5 } }, 'overrides.perApiKey.moneyPerMonth'],
    ['money beyond what is exact', { limits: { moneyPerMonth: '9000001' } }, 'overrides.limits.moneyPerMonth'],
    ['a model that does not exist', { perModel: { 'gpt-9': {} } }, 'overrides.perModel.gpt-9'],
    ['an estimate that does not exist', { estimate: 'guessed' }, 'overrides.estimate'],
  ])('is refused with %s, which changes nothing', async (_name, overrides, field) => {
    await admin('PUT', '/tenants/careful', { plan: 'trial', overrides: { estimate: 'exact' } });
    const answer = await refused('PUT', '/tenants/careful', { plan: 'demo', overrides });
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    const { errors } = answer.body as { errors: { field: string }[] };
    expect(errors.map((error) => error.field)).toContain(field);
    expect(await admin('GET', '/tenants/careful')).toMatchObject({ plan: 'trial', overrides: { estimate: 'exact' } });
  });

  it.each([
    ['/tenants/nobody', 404, 'tenant_not_found'],
    ['/tenants/nobody/keys', 404, 'tenant_not_found'],
    ['/tenants/nobody/producers', 404, 'tenant_not_found'],
    ['/tenants/Bad%20Name', 400, 'invalid_request'],
    ['/tenants?limit=0', 400, 'invalid_request'],
    ['/tenants?limit=201', 400, 'invalid_request'],
    ['/tenants?limit=ten', 400, 'invalid_request'],
    ['/tenants?cursor=bm9wZQ', 400, 'invalid_request'],
    ['/tenants?page=2', 400, 'invalid_request'],
    ['/producers/nobody', 404, 'not_found'],
  ])('%s is answered by %d %s', async (path, status, code) => {
    expect(await refused('GET', path)).toMatchObject({ status, body: { code } });
  });
});

describe('an API key', () => {
  it('has limits of its own and an end; it is listed without its secret', async () => {
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
    await admin('PUT', '/tenants/keys', { plan: 'trial' });
    const limits = { tokensPerDay: { max: 7, soft: true }, moneyPerMonth: '0.5' };
    const made = (await admin('POST', '/tenants/keys/keys', { name: 'ci', limits, expiresAt })) as {
      readonly id: string;
      readonly key: string;
    };
    expect(made).toMatchObject({ object: 'api_key', tenantId: 'keys', name: 'ci', limits, expiresAt });
    const { data } = (await admin('GET', '/tenants/keys/keys')) as { readonly data: readonly object[] };
    expect(data).toHaveLength(1);
    expect(data[0]).toMatchObject({ id: made.id, name: 'ci', limits, expiresAt, prefix: made.key.slice(0, 10) });
    expect(JSON.stringify(data)).not.toContain(made.key);
    const { body } = await send(gateway.url, '/v1/quota?model=guesslang', { key: made.key });
    expect((body as { limits: object[] }).limits).toMatchObject([
      { name: 'tokens-per-minute' },
      { name: 'tokens-per-month' },
      { name: 'api-key:tokens-per-day', subject: made.id, max: 7, soft: true, overage: 0 },
      { name: 'api-key:money-per-month', subject: made.id, max: 500_000_000, unit: 'nanoUsd' },
    ]);

    await admin('DELETE', `/keys/${made.id}`);
    expect(await refused('PATCH', `/keys/${made.id}`, { name: 'late' })).toMatchObject({ status: 404 });
    const after = (await admin('GET', '/tenants/keys/keys')) as { readonly data: readonly object[] };
    expect(after.data[0]).toHaveProperty('revokedAt');
  });

  it('is changed in what a change speaks of; null removes', async () => {
    await admin('PUT', '/tenants/keys', { plan: 'trial' });
    const made = (await admin('POST', '/tenants/keys/keys', { name: 'old', limits: { tokensPerDay: 7 } })) as {
      readonly id: string;
      readonly key: string;
    };
    const change = (body: unknown): Promise<unknown> => admin('PATCH', `/keys/${made.id}`, body);
    const before = { id: made.id, object: 'api_key', tenantId: 'keys', name: 'old', limits: { tokensPerDay: 7 } };
    expect(await change({})).toMatchObject(before);
    const expiresAt = new Date(Date.now() + 60_000).toISOString();
    expect(await change({ expiresAt })).toMatchObject({ ...before, expiresAt });
    const limits = { moneyPerMonth: { usd: '0.5', soft: true }, tokensPerMinute: null };
    expect(await change({ name: 'new', limits })).toMatchObject({ ...before, name: 'new', limits, expiresAt });
    const { body } = await send(gateway.url, '/v1/quota?model=guesslang', { key: made.key });
    expect((body as { limits: { name: string }[] }).limits.map(({ name }) => name)).toContain(
      'api-key:money-per-month',
    );
    const bare = await change({ limits: null, expiresAt: null });
    expect(bare).toMatchObject({ ...before, name: 'new', limits: {} });
    expect(bare).not.toHaveProperty('expiresAt');
  });

  it('is refused from the moment it expires, although it was used before', async () => {
    await admin('PUT', '/tenants/keys', { plan: 'trial' });
    const slow = await fixture.startGateway({ SLUICE_KEY_CACHE_TTL: '1h' });
    const made = (await admin('POST', '/tenants/keys/keys', {})) as { readonly id: string; readonly key: string };
    const expiresAtMs = Date.now() + 1_500;
    await admin('PATCH', `/keys/${made.id}`, { expiresAt: new Date(expiresAtMs).toISOString() });
    const ask = async (): Promise<number> => (await send(slow.url, '/v1/models', { key: made.key })).status;
    expect(await ask()).toBe(200);
    let status = 200;
    while (status === 200 && Date.now() < expiresAtMs + 20_000) status = await ask();
    expect(status).toBe(401);
  });

  it.each([
    ['no name', { name: null }, 'name', 'must be a string'],
    ['an empty name', { name: '' }, 'name', 'must not be empty'],
    ['an end in the past', { expiresAt: '2020-01-01T00:00:00Z' }, 'expiresAt', 'must be in the future'],
    ['what is no key of a key', { plan: 'demo' }, 'plan', 'is not a known field'],
    ['a wrong budget', { limits: { moneyPerMonth: {} } }, 'limits.moneyPerMonth.usd', 'is required'],
  ])('is not changed to %s', async (_name, body, field, reason) => {
    await admin('PUT', '/tenants/keys', { plan: 'trial' });
    const { id } = (await admin('POST', '/tenants/keys/keys', {})) as { readonly id: string };
    const answer = await refused('PATCH', `/keys/${id}`, body);
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ field, reason }] } });
  });

  it.each(['0190a8f4-7c1e-7000-8000-000000000000', 'nope'])('that does not exist is not changed: %s', async (id) => {
    expect(await refused('PATCH', `/keys/${id}`, {})).toMatchObject({ status: 404, body: { code: 'not_found' } });
  });

  it.each([
    ['an unknown limit', { limits: { tokens: 1 } }, 'limits.tokens'],
    ['limits that are a list', { limits: [] }, 'limits'],
    ['an end in the past', { expiresAt: '2020-01-01T00:00:00Z' }, 'expiresAt'],
    ['an end without a zone', { expiresAt: '2120-01-01T00:00:00' }, 'expiresAt'],
    ['an end as a number', { expiresAt: 4_000_000_000_000 }, 'expiresAt'],
  ])('is refused with %s', async (_name, body, field) => {
    await admin('PUT', '/tenants/keys', { plan: 'trial' });
    const answer = await refused('POST', '/tenants/keys/keys', body);
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request', errors: [{ field }] } });
  });
});

describe('a producer', () => {
  it('is a user of the broker that submits for one tenant', async () => {
    await admin('PUT', '/tenants/makers', { plan: 'trial' });
    const made = (await admin('PUT', '/producers/crm', { tenantId: 'makers' })) as { readonly apiKeyId: string };
    expect(made).toMatchObject({ id: 'crm', object: 'producer', tenantId: 'makers', limits: {} });
    expect(await admin('PUT', '/producers/crm', { tenantId: 'makers' })).toEqual(made);
    expect(await admin('GET', '/producers/crm')).toEqual(made);
    const limited = { ...made, limits: { moneyPerMonth: '0.5' } };
    expect(await admin('PUT', '/producers/crm', { tenantId: 'makers', limits: limited.limits })).toEqual(limited);
    expect(await admin('PUT', '/producers/crm', { tenantId: 'makers' })).toEqual(limited);
    expect(await admin('GET', '/producers/crm')).toEqual(limited);
    expect(await admin('PUT', '/producers/crm', { tenantId: 'makers', limits: {} })).toEqual(made);
    const { data } = (await admin('GET', '/tenants/makers/producers')) as { readonly data: readonly object[] };
    expect(data).toMatchObject([{ id: 'crm', apiKeyId: made.apiKeyId }]);
    expect(await admin('DELETE', '/producers/crm')).toMatchObject({ deleted: true });
    expect(await refused('GET', '/producers/crm')).toMatchObject({ status: 404 });
    expect(await refused('DELETE', '/producers/crm')).toMatchObject({ status: 404 });
  });

  it.each<[string, string, unknown, number, string]>([
    ['a tenant that does not exist', 'crm', { tenantId: 'nobody' }, 404, 'tenant_not_found'],
    ['no tenant', 'crm', {}, 400, 'invalid_request'],
    ['wrong limits', 'crm', { tenantId: 'makers', limits: { moneyPerMonth: 5 } }, 400, 'invalid_request'],
    ['a name with NUL', '%00', { tenantId: 'makers' }, 400, 'invalid_request'],
    ['a name that no message can carry', 'x'.repeat(256), { tenantId: 'makers' }, 400, 'invalid_request'],
  ])('is refused with %s', async (_name, userId, body, status, code) => {
    expect(await refused('PUT', `/producers/${userId}`, body)).toMatchObject({ status, body: { code } });
  });
});

describe('GET /v1/quota', () => {
  it('is told for one model or for all, and refuses others', async () => {
    const key = await createTenant(gateway.url, 'asker', 'trial');
    expect((await send(gateway.url, '/v1/quota?model=nope', { key })).body).toMatchObject({ code: 'model_not_found' });
    expect((await send(gateway.url, '/v1/quota?models=x', { key })).body).toMatchObject({ code: 'invalid_request' });
    const all = await send(gateway.url, '/v1/quota', { key });
    expect(all.body).toMatchObject({ object: 'quota', plan: 'trial', limits: [{ scope: 'tenant' }, {}] });
    expect(all.headers.get('ratelimit')).toBeNull();
    const one = await send(gateway.url, '/v1/quota?model=guesslang', { key });
    expect(one.headers.get('ratelimit')).toMatch(/^"tokens-per-minute";r=10000;t=0, /);
  });
});
