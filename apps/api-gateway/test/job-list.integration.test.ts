import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { NO_USAGE, type TerminalState } from '@sluice/contracts';
import {
  createFixture,
  createKey,
  createTenant,
  send,
  type Answer,
  type Fixture,
  type Gateway,
} from './gateway-fixture.js';

interface Page {
  readonly data: readonly { readonly id: string; readonly state: string }[];
  readonly hasMore: boolean;
  readonly nextCursor: string | null;
}

let fixture: Fixture;
let gateway: Gateway;
let key: string;
let secondKey: string;
/** In the order of submission. */
const ids: string[] = [];

beforeAll(async () => {
  fixture = await createFixture();
  gateway = await fixture.startGateway();
  key = await createTenant(gateway.url, 'lister');
  secondKey = await createKey(gateway.url, 'lister');
  for (let index = 0; index < 7; index++) ids.push(await submit(index % 2 === 0 ? key : secondKey, index));
  await end(ids[0], 'succeeded');
  await end(ids[1], 'failed');
  await end(ids[2], 'canceled');
}, 60_000);
afterAll(() => fixture.close());

async function submit(apiKey: string, index: number): Promise<string> {
  const body = {
    model: index < 4 ? 'guesslang' : 'use-lite-en',
    input: 'text',
    class: index === 6 ? 'batch' : 'standard',
  };
  const { body: job } = await send(gateway.url, '/v1/jobs', {
    method: 'POST',
    key: apiKey,
    body: JSON.stringify(body),
  });
  const { id } = job as { id: string };
  await fixture.collector.recorded(id);
  return id;
}

async function end(jobId: string | undefined, state: TerminalState): Promise<void> {
  const fact = await fixture.collector.recorded(jobId ?? '');
  const { tenantId, apiKeyId, model } = fact;
  const message = { jobId: fact.jobId, tenantId, apiKeyId, model, class: fact.class, state, usage: NO_USAGE };
  const output = { task: 'text-classification' as const, classifications: [] };
  const error = { code: 'inference_failed', detail: 'why' };
  await fixture.complete({
    ...message,
    ...(state === 'succeeded' ? { output } : {}),
    ...(state === 'failed' ? { error } : {}),
    attempt: 1,
    finishedAtMs: Date.now(),
  });
  await send(gateway.url, `/v1/jobs/${fact.jobId}?wait=10`, { key });
}

function list(query = '', apiKey = key): Promise<Answer> {
  return send(gateway.url, `/v1/jobs${query}`, { key: apiKey });
}

async function idsOf(query: string): Promise<readonly string[]> {
  return ((await list(query)).body as Page).data.map(({ id }) => id);
}

/** The jobs of these indices, newest first. */
function jobs(...indices: number[]): readonly (string | undefined)[] {
  return indices.sort((a, b) => b - a).map((index) => ids[index]);
}

describe('the list of jobs', () => {
  it('has every job of the tenant, newest first, without outputs', async () => {
    const { status, body } = await list();
    expect(status).toBe(200);
    const { data, hasMore, nextCursor } = body as Page;
    expect(data.map(({ id }) => id)).toEqual(jobs(0, 1, 2, 3, 4, 5, 6));
    expect([hasMore, nextCursor]).toEqual([false, null]);
    expect(data.at(-1)).toMatchObject({ object: 'job', state: 'succeeded', usage: NO_USAGE, amountNanoUsd: '0' });
    expect(data.at(-1)).not.toHaveProperty('output');
    expect(data.at(-2)).toMatchObject({ state: 'failed', error: { code: 'inference_failed' } });
  });

  it('comes in pages that a cursor joins, also when jobs come in between', async () => {
    const seen: string[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const page = (await list(`?limit=2${cursor && `&cursor=${cursor}`}`)).body as Page;
      expect(page.data.length).toBeLessThanOrEqual(2);
      expect(page.hasMore).toBe(page.nextCursor !== null);
      seen.push(...page.data.map(({ id }) => id));
      cursor = page.nextCursor;
    }
    expect(seen).toEqual(jobs(0, 1, 2, 3, 4, 5, 6));
  });

  it('is filtered', async () => {
    expect(await idsOf('?state=queued')).toEqual(jobs(3, 4, 5, 6));
    expect(await idsOf('?state=failed&state=canceled')).toEqual(jobs(1, 2));
    expect(await idsOf('?state=succeeded,failed')).toEqual(jobs(0, 1));
    expect(await idsOf('?model=use-lite-en')).toEqual(jobs(4, 5, 6));
    expect(await idsOf('?class=batch')).toEqual(jobs(6));
    expect(await idsOf('?model=guesslang&state=queued')).toEqual(jobs(3));
    const { apiKeyId } = await fixture.collector.recorded(ids[1] ?? '');
    expect(await idsOf(`?apiKey=${apiKeyId}`)).toEqual(jobs(1, 3, 5));
    const { data } = (await list()).body as { data: { id: string; createdAt: string }[] };
    const third = data.find(({ id }) => id === ids[3])?.createdAt ?? '';
    const [after, before] = [await idsOf(`?from=${third}`), await idsOf(`?to=${third}`)];
    expect(after).toContain(ids[3]);
    expect(before).not.toContain(ids[3]);
    expect([...after, ...before]).toEqual(jobs(0, 1, 2, 3, 4, 5, 6));
  });

  it('says why nobody is found running', async () => {
    const { body } = await list('?state=running');
    expect(body).toMatchObject({ errors: [{ reason: expect.stringMatching(/; a running job is listed as queued$/) }] });
  });

  it('shows a tenant nothing of another', async () => {
    const theirs = await createTenant(gateway.url, 'stranger');
    expect((await list('', theirs)).body).toEqual({ object: 'list', data: [], hasMore: false, nextCursor: null });
    const { apiKeyId } = await fixture.collector.recorded(ids[0] ?? '');
    expect((await list(`?apiKey=${apiKeyId}`, theirs)).body).toMatchObject({ data: [] });
  });

  it.each([
    ['state=running', 'state.0'],
    ['state=', 'state.0'],
    ['model=NOPE', 'model'],
    ['model=a&model=b', 'model'],
    ['class=urgent', 'class'],
    ['apiKey=1', 'apiKey'],
    ['from=yesterday', 'from'],
    ['to=2026-13-01', 'to'],
    ['from=2026-11-02&to=2026-11-01', 'from'],
    ['limit=0', 'limit'],
    ['limit=201', 'limit'],
    ['limit=1e2', 'limit'],
    ['cursor=', 'cursor'],
    ['cursor=abc', 'cursor'],
    ['cursor=%00', 'cursor'],
    [`cursor=${'x'.repeat(501)}`, 'cursor'],
    ['page=2', 'page'],
  ])('refuses ?%s', async (query, field) => {
    expect(await list(`?${query}`)).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', errors: [{ field }] },
    });
  });

  it('refuses a cursor of a list with other filters', async () => {
    const { nextCursor } = (await list('?limit=1&state=queued')).body as Page;
    expect(await idsOf(`?limit=5&state=queued&cursor=${nextCursor}`)).toEqual(jobs(3, 4, 5));
    expect((await list(`?cursor=${nextCursor}`)).body).toMatchObject({ status: 400, errors: [{ field: 'cursor' }] });
  });

  it('is for holders of a key, and read only', async () => {
    expect((await send(gateway.url, '/v1/jobs')).status).toBe(401);
    const refused = await send(gateway.url, '/v1/jobs', { method: 'DELETE', key });
    expect([refused.status, refused.headers.get('allow')]).toEqual([405, 'GET, HEAD, POST']);
    expect((await send(gateway.url, '/v1/jobs', { method: 'HEAD', key })).status).toBe(200);
  });
});
