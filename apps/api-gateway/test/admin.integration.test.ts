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
    const after = (await admin('GET', '/tenants/keys/keys')) as { readonly data: readonly object[] };
    expect(after.data[0]).toHaveProperty('revokedAt');
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
    expect(made).toMatchObject({ id: 'crm', object: 'producer', tenantId: 'makers' });
    expect(await admin('PUT', '/producers/crm', { tenantId: 'makers' })).toEqual(made);
    expect(await admin('GET', '/producers/crm')).toEqual(made);
    const { data } = (await admin('GET', '/tenants/makers/producers')) as { readonly data: readonly object[] };
    expect(data).toMatchObject([{ id: 'crm', apiKeyId: made.apiKeyId }]);
    expect(await admin('DELETE', '/producers/crm')).toMatchObject({ deleted: true });
    expect(await refused('GET', '/producers/crm')).toMatchObject({ status: 404 });
    expect(await refused('DELETE', '/producers/crm')).toMatchObject({ status: 404 });
  });

  it.each<[string, string, unknown, number, string]>([
    ['a tenant that does not exist', 'crm', { tenantId: 'nobody' }, 404, 'tenant_not_found'],
    ['no tenant', 'crm', {}, 400, 'invalid_request'],
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
