import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { AcceptedMessage } from '@sluice/contracts';
import {
  administer,
  createFixture,
  createKey,
  createTenant,
  send,
  type Answer,
  type Fixture,
  type Gateway,
} from './gateway-fixture.js';

const PLANS = `
budget: { limits: { moneyPerMonth: '5' } }
scoped: { limits: { concurrentJobs: 3 }, perApiKey: { tokensPerDay: 100 }, perModel: { '*': { tokensPerMonth: 60 } } }
wide: { limits: { requestsPerMinute: 600, tokensPerMinute: 60000, tokensPerDay: { max: 100000, soft: true } } }
tiny: { limits: { tokensPerMonth: { max: 10, soft: true }, moneyPerMonth: '0.001' } }`;

let fixture: Fixture;
let gateways: readonly Gateway[];

beforeAll(async () => {
  // A character of `guesslang` is a token: 100 of them cost $0.10.
  fixture = await createFixture({ plans: PLANS, usdPerMillion: { guesslang: '1000' } });
  const quick = { SLUICE_KEY_CACHE_TTL: '1ms', SLUICE_LOAD_WAIT: '60s' };
  gateways = await Promise.all([fixture.startGateway(quick), fixture.startGateway(quick)]);
}, 60_000);
afterAll(() => fixture.close());

const url = (index = 0): string => gateways[index % gateways.length]?.url ?? '';

function submit(key: string, tokens: number, more: object = {}, index = 0): Promise<Answer> {
  const body = JSON.stringify({ model: 'guesslang', input: 'x'.repeat(tokens), ...more });
  return send(url(index), '/v1/jobs', { method: 'POST', body, key });
}

interface LimitView {
  readonly name: string;
  readonly used: number;
  readonly held: number;
  readonly remaining: number;
}

async function limitsOf(key: string, query = ''): Promise<readonly LimitView[]> {
  const { status, body } = await send(url(), `/v1/quota${query}`, { key });
  if (status !== 200) throw new Error(JSON.stringify(body));
  return (body as { limits: LimitView[] }).limits;
}

async function complete({ jobId }: { jobId: string }, inputTokens: number): Promise<void> {
  const fact: AcceptedMessage = await fixture.collector.recorded(jobId);
  const { tenantId, apiKeyId, model, class: jobClass, reservedTokens, reservedNanoUsd } = fact;
  await fixture.complete({
    ...{ jobId, tenantId, apiKeyId, model, class: jobClass, reservedTokens, reservedNanoUsd },
    ...{ state: 'succeeded', usage: { inputTokens, outputTokens: 0, cachedTokens: 0 }, attempt: 1 },
    finishedAtMs: Date.now(),
  });
  const ended = await send(url(), `/v1/jobs/${jobId}?wait=30`, { key: await keyOf(tenantId) });
  expect(ended.body).toMatchObject({ state: 'succeeded' });
}

const keys = new Map<string, string>();
async function tenant(name: string, plan: string): Promise<string> {
  const key = await createTenant(url(), name, plan);
  keys.set(name, key);
  return key;
}
async function keyOf(name: string): Promise<string> {
  return keys.get(name) ?? createKey(url(), name);
}

const idOf = ({ body }: Answer): string => (body as { id: string }).id;

describe('a budget', () => {
  it('of $5 admits exactly 50 of 1,000 concurrent jobs of $0.10 over two gateways', async () => {
    const key = await tenant('rich', 'budget');
    const answers = await Promise.all(Array.from({ length: 1_000 }, (_, index) => submit(key, 100, {}, index)));
    const accepted = answers.filter(({ status }) => status === 202);
    expect(accepted).toHaveLength(50);
    expect(accepted[0]?.body).toMatchObject({ reservation: { tokens: 100, amountNanoUsd: '100000000' } });
    const refused = answers.filter(({ status }) => status !== 202);
    expect(new Set(refused.map(({ body }) => (body as { code: string }).code))).toEqual(new Set(['budget_exceeded']));
    expect(refused[0]?.body).toMatchObject({
      ...{ status: 429, limit: 'money-per-month', scope: 'tenant', unit: 'nanoUsd', requested: 100_000_000 },
      ...{ max: 5_000_000_000, used: 0, held: 5_000_000_000, remaining: 0 },
      detail: expect.stringMatching(/^The job needs \$0\.10; money-per-month has \$0\.00 left and clears in \d+ s\.$/),
    });
    expect(await limitsOf(key)).toMatchObject([{ name: 'money-per-month', used: 0, held: 5_000_000_000 }]);
  });

  it('is refused for good where a job costs more than all of it, while a soft quota refuses nothing', async () => {
    const key = await tenant('poor', 'tiny');
    expect((await submit(key, 2)).body).toMatchObject({ code: 'exceeds_limit', limit: 'money-per-month' });
    const { status, headers } = await submit(key, 1);
    expect(status).toBe(202);
    expect(headers.get('ratelimit-policy')).toMatch(/^"money-per-month";q=1000;qu="micro-usd";w=\d+$/);
    expect(headers.get('ratelimit')).toMatch(/^"money-per-month";r=0;t=\d+$/);
    expect(await limitsOf(key)).toMatchObject([
      { name: 'tokens-per-month', held: 1, soft: true },
      { name: 'money-per-month', held: 1_000_000, soft: false },
    ]);
  });
});

describe('limits on several scopes', () => {
  it('refuse by the key, by the model and by what is in flight, and name which', async () => {
    const key = await tenant('scoped', 'scoped');
    const first = idOf(await submit(key, 25));
    await submit(key, 5);
    expect((await submit(key, 40)).body).toMatchObject({
      ...{ code: 'quota_exceeded', limit: 'model:tokens-per-month', scope: 'model', subject: 'guesslang' },
      ...{ unit: 'tokens', requested: 40, max: 60, held: 30, remaining: 30 },
    });
    expect((await submit(key, 101)).body).toMatchObject({ code: 'exceeds_limit' });
    await submit(key, 5);
    const busy = await submit(key, 5);
    expect(busy.body).toMatchObject({
      ...{ status: 429, code: 'concurrency_limited', limit: 'concurrent-jobs', scope: 'tenant' },
      ...{ unit: 'requests', requested: 1, max: 3, held: 3, remaining: 0 },
    });
    expect(['1', '2', '3', '4', '5']).toContain(busy.headers.get('retry-after'));

    await complete({ jobId: first }, 25);
    expect((await submit(key, 5)).status).toBe(202);
    expect(await limitsOf(key, '?model=guesslang')).toMatchObject([
      { name: 'concurrent-jobs', held: 3 },
      { name: 'api-key:tokens-per-day', used: 25, held: 15, remaining: 60 },
      { name: 'model:tokens-per-month', subject: 'guesslang', used: 25, held: 15, remaining: 20 },
    ]);
  });

  it('count each key and each model by itself', async () => {
    const key = await tenant('several', 'scoped');
    const other = await createKey(url(), 'several', { tokensPerDay: 10, tokensPerMinute: 1_000 });
    expect((await submit(key, 60)).status).toBe(202);
    expect((await submit(other, 11, { model: 'use-lite-en', input: 'word '.repeat(30) })).body).toMatchObject({
      code: 'exceeds_limit',
      limit: 'api-key:tokens-per-day',
    });
    const answer = await submit(other, 0, { model: 'use-lite-en', input: 'a few words' });
    expect(answer.status).toBe(202);
    expect(answer.headers.get('ratelimit-policy')).toContain('"api-key:tokens-per-minute";q=1000');
    expect((await limitsOf(key)).map(({ name }) => name)).not.toContain('api-key:tokens-per-minute');
    const models = (await limitsOf(other)).filter(({ name }) => name === 'model:tokens-per-month');
    expect(models).toHaveLength(3);
  });

  it('are told in the headers that standards and OpenAI clients read, on acceptance and refusal', async () => {
    const key = await tenant('headers', 'wide');
    const { headers } = await submit(key, 600);
    expect(headers.get('ratelimit-policy')).toBe(
      '"requests-per-minute";q=600;qu="requests";w=60, "tokens-per-minute";q=60000;qu="tokens";w=60',
    );
    expect(headers.get('x-ratelimit-limit-requests')).toBe('600');
    expect(headers.get('x-ratelimit-remaining-requests')).toBe('599');
    expect(headers.get('x-ratelimit-limit-tokens')).toBe('60000');
    expect(headers.get('x-ratelimit-remaining-tokens')).toBe('59400');
    expect(headers.get('x-ratelimit-reset-tokens')).toBe('600ms');
    const large = { input: Array.from({ length: 6 }, () => 'x'.repeat(9_900)) };
    await submit(key, 1, large);
    const refused = await submit(key, 1, large);
    expect(refused.body).toMatchObject({ code: 'rate_limited', limit: 'tokens-per-minute' });
    expect(refused.headers.get('x-ratelimit-remaining-requests')).toMatch(/^(59\d|600)$/);
  });
});

describe('limits of one tenant', () => {
  it('change with its overrides, which replace, add and remove those of the plan', async () => {
    const key = await tenant('own', 'scoped');
    const change = (overrides: unknown) =>
      administer(url(1), 'PUT', '/tenants/own', { plan: 'scoped', timeZone: 'UTC', overrides });
    expect((await submit(key, 20)).status).toBe(202);
    await change({
      limits: { concurrentJobs: null, tokensPerDay: 50 },
      perModel: { guesslang: { tokensPerMonth: 40 } },
    });
    expect(await limitsOf(key, '?model=guesslang')).toMatchObject([
      { name: 'tokens-per-day', max: 50, held: 20 },
      { name: 'api-key:tokens-per-day', max: 100, held: 20 },
      { name: 'model:tokens-per-month', max: 40, held: 20 },
    ]);
    expect((await submit(key, 21)).body).toMatchObject({ code: 'quota_exceeded', limit: 'model:tokens-per-month' });
    await change({});
    expect((await submit(key, 21)).status).toBe(202);
    expect(await limitsOf(key)).toMatchObject([{ name: 'concurrent-jobs', held: 2 }, {}, {}, {}, {}]);
  });
});

describe('gateways that know different limits for a while', () => {
  it('both go on admitting: a load by one of them serves the other', async () => {
    const slow = await fixture.startGateway();
    const key = await tenant('spreading', 'wide');
    const viaSlow = () =>
      send(slow.url, '/v1/jobs', { method: 'POST', key, body: JSON.stringify({ model: 'guesslang', input: 'x' }) });
    expect((await viaSlow()).status).toBe(202);
    const limits = { requestsPerMinute: null, tokensPerMonth: 5_000, concurrentJobs: 50 };
    const overrides = { limits, perModel: { guesslang: { tokensPerDay: 4_000 } } };
    await administer(url(), 'PUT', '/tenants/spreading', { plan: 'wide', overrides });
    for (let round = 0; round < 3; round++) {
      const fresh = await submit(key, 1, {}, round);
      expect([fresh.status, fresh.headers.get('x-ratelimit-limit-requests')]).toEqual([202, null]);
      const stale = await viaSlow();
      expect([stale.status, stale.headers.get('x-ratelimit-limit-requests')]).toEqual([202, '600']);
    }
    expect(await limitsOf(key, '?model=guesslang')).toMatchObject([
      { name: 'tokens-per-minute' },
      { name: 'tokens-per-day' },
      { name: 'tokens-per-month', max: 5_000 },
      { name: 'concurrent-jobs', max: 50 },
      { name: 'model:tokens-per-day', max: 4_000 },
    ]);
  });
});

describe('expiresIn', () => {
  it('sets the deadline of the job', async () => {
    const key = await tenant('hasty', 'wide');
    const { body } = await submit(key, 1, { expiresIn: 90 });
    const { createdAt, expiresAt } = body as { createdAt: string; expiresAt: string };
    expect(Date.parse(expiresAt) - Date.parse(createdAt)).toBe(90_000);
  });
});
