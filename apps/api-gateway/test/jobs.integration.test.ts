import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { acceptedMessageSchema, newJobId, type AcceptedMessage } from '@sluice/contracts';
import { closeRedis, connectRedis, redisReady } from '@sluice/quota';
import { createLogger } from '@sluice/runtime';
import { createFixture, createTenant, send, type Answer, type Fixture, type Gateway } from './gateway-fixture.js';

const logger = createLogger({ app: 'test', level: 'silent' });
let fixture: Fixture;
let gateway: Gateway;
let redis: ReturnType<typeof connectRedis>;

beforeAll(async () => {
  fixture = await createFixture();
  gateway = await fixture.startGateway();
  redis = connectRedis({ url: fixture.environment['SLUICE_REDIS_URL'] ?? '', name: 'test', logger });
  await redisReady(redis, 5_000);
}, 60_000);
afterAll(async () => {
  await closeRedis(redis);
  await fixture.close();
});

const good = { model: 'guesslang', input: 'print("hello, world")\n' };

function submit(
  key: string,
  body: unknown = good,
  headers: Record<string, string> = {},
  url = gateway.url,
): Promise<Answer> {
  return send(url, '/v1/jobs', { method: 'POST', body: JSON.stringify(body), key, headers });
}

/** Takes everything out of a work queue, which no worker consumes here. */
async function drain(queue = 'work.text.standard'): Promise<readonly AcceptedMessage[]> {
  const channel = await fixture.amqp.createChannel();
  const messages: AcceptedMessage[] = [];
  for (let got = await channel.get(queue, { noAck: true }); got; got = await channel.get(queue, { noAck: true })) {
    messages.push(acceptedMessageSchema.parse(JSON.parse(got.content.toString())));
  }
  await channel.close();
  return messages;
}

async function monthly(key: string, url = gateway.url): Promise<{ used: number; held: number }> {
  const { body } = await send(url, '/v1/quota', { key });
  const limits = (body as { limits: { kind: string; used: number; held: number }[] }).limits;
  const { used = -1, held = -1 } = limits.find(({ kind }) => kind === 'quota') ?? {};
  return { used, held };
}

describe('a submission', () => {
  it('is answered by 202 with the job, its place and the state of every limit', async () => {
    const key = await createTenant(gateway.url, 'shape');
    const { status, headers, body } = await submit(key, {
      ...good,
      metadata: { team: 'search' },
      class: 'interactive',
    });
    const job = body as { id: string };
    expect(status).toBe(202);
    expect(headers.get('location')).toBe(`/v1/jobs/${job.id}`);
    expect(headers.get('ratelimit-policy')).toMatch(
      /^"tokens-per-minute";q=2000000;qu="tokens";w=60, "tokens-per-month";q=500000000;qu="tokens";w=\d+$/,
    );
    expect(headers.get('ratelimit')).toMatch(
      /^"tokens-per-minute";r=1999978;t=1, "tokens-per-month";r=499999978;t=\d+$/,
    );
    expect(job).toMatchObject({
      object: 'job',
      state: 'queued',
      model: 'guesslang',
      class: 'interactive',
      metadata: { team: 'search' },
      reservation: { tokens: 22, inputTokens: 22, maxOutputTokens: 0, amountNanoUsd: '0' },
    });

    const work = await drain('work.text.interactive');
    expect(work).toHaveLength(1);
    expect(await fixture.collector.recorded(job.id)).toEqual(work[0]);
    expect(work[0]).toMatchObject({ jobId: job.id, tenantId: 'shape', input: good.input, inputTokens: 22 });

    expect((await send(gateway.url, `/v1/jobs/${job.id}`, { key })).body).toEqual(job);
    expect(await monthly(key)).toEqual({ used: 0, held: 22 });
  });

  it('of several texts is one job whose hold is their sum', async () => {
    const key = await createTenant(gateway.url, 'several');
    const { body } = await submit(key, { model: 'guesslang', input: ['abc', 'défg'] });
    expect(body).toMatchObject({ reservation: { tokens: 3 + 5 } });
    await drain();
  });

  it('can be read by its own tenant only', async () => {
    const [mine, other] = [await createTenant(gateway.url, 'mine'), await createTenant(gateway.url, 'other')];
    const { body } = await submit(mine);
    const path = `/v1/jobs/${(body as { id: string }).id}`;
    expect((await send(gateway.url, path, { key: mine })).status).toBe(200);
    expect((await send(gateway.url, path, { key: other })).body).toMatchObject({ status: 404, code: 'job_not_found' });
  });

  it('with a revoked key is refused once the cache has expired', async () => {
    const quick = await fixture.startGateway({ SLUICE_KEY_CACHE_TTL: '1ms' });
    await createTenant(quick.url, 'revoked');
    const admin = { key: 'slk_admin_of_the_tests' };
    const made = await send(quick.url, '/v1/admin/tenants/revoked/keys', { ...admin, method: 'POST', body: '{}' });
    const { id, key } = made.body as { id: string; key: string };
    expect((await submit(key, good, {}, quick.url)).status).toBe(202);
    expect((await send(quick.url, `/v1/admin/keys/${id}`, { ...admin, method: 'DELETE' })).status).toBe(200);
    await sleep(5);
    expect((await submit(key, good, {}, quick.url)).status).toBe(401);
    expect((await send(quick.url, `/v1/admin/keys/${id}`, { ...admin, method: 'DELETE' })).status).toBe(404);
  });
});

describe('limits', () => {
  it('refuse what does not fit, name the limit, say when, and consume nothing', async () => {
    const key = await createTenant(gateway.url, 'small', 'trial');
    expect((await submit(key, { model: 'guesslang', input: 'x'.repeat(9_000) })).status).toBe(202);
    const refused = await submit(key, { model: 'guesslang', input: 'x'.repeat(9_000) });
    expect(refused.body).toMatchObject({
      status: 429,
      code: 'rate_limited',
      limit: 'tokens-per-minute',
      scope: 'tenant',
      unit: 'tokens',
      requested: 9000,
    });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(40);
    expect(refused.headers.get('ratelimit')).toMatch(
      /^"tokens-per-minute";r=1\d\d\d;t=\d+, "tokens-per-month";r=991000;/,
    );
    expect(refused.headers.get('ratelimit-policy')).toMatch(/^"tokens-per-minute";q=10000;qu="tokens";w=60, /);
    expect(await monthly(key)).toEqual({ used: 0, held: 9_000 });
  });

  it('hold exactly over two gateways and many requests at once', async () => {
    const second = await fixture.startGateway();
    const key = await createTenant(gateway.url, 'crowd', 'trial');
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, index) =>
        submit(key, { model: 'guesslang', input: 'x'.repeat(1_000) }, {}, index % 2 ? second.url : gateway.url),
      ),
    );
    const accepted = answers.filter(({ status }) => status === 202).length;
    // n.b. 10,000 tokens a minute, of which 166 come back each second while the test runs.
    expect(accepted).toBeGreaterThanOrEqual(10);
    expect(accepted).toBeLessThanOrEqual(12);
    expect(await monthly(key)).toEqual({ used: 0, held: accepted * 1_000 });
    expect(answers.every(({ status }) => status === 202 || status === 429)).toBe(true);
  });

  it('know what was used before Redis knew the tenant', async () => {
    const key = await createTenant(gateway.url, 'returning', 'trial');
    const apiKeyId = randomUUID();
    const whose = { tenantId: 'returning', apiKeyId, model: 'guesslang', class: 'standard' } as const;
    const [done, open] = [newJobId(), newJobId()];
    const accepted = (jobId: string, reservedTokens: number) => ({
      type: 'accepted' as const,
      message: {
        ...whose,
        jobId,
        inputTokens: reservedTokens,
        maxOutputTokens: 0,
        reservedTokens,
        reservedNanoUsd: 0,
        expiresAtMs: Date.now() + 3_600_000,
      },
    });
    await fixture.collector.store.recordFacts([
      accepted(done, 500),
      accepted(open, 70),
      {
        type: 'completed',
        message: {
          ...whose,
          jobId: done,
          state: 'succeeded',
          usage: { inputTokens: 500, outputTokens: 0, cachedTokens: 0 },
          attempt: 1,
          finishedAtMs: Date.now(),
        },
      },
    ]);
    expect(await monthly(key)).toEqual({ used: 500, held: 70 });
  });
});

describe('an Idempotency-Key', () => {
  it('gives the same job again and does not queue it twice', async () => {
    const key = await createTenant(gateway.url, 'again');
    await drain();
    const headers = { 'idempotency-key': randomUUID() };
    const first = await submit(key, good, headers);
    const second = await submit(key, good, headers);
    expect(second.status).toBe(202);
    expect(second.body).toEqual(first.body);
    expect(await drain()).toHaveLength(1);
    expect(await monthly(key)).toEqual({ used: 0, held: 22 });
  });

  it('publishes the job again, under the same id, when nobody knows whether it is queued', async () => {
    const key = await createTenant(gateway.url, 'doubtful');
    await drain();
    const headers = { 'idempotency-key': randomUUID() };
    const first = await submit(key, good, headers);
    const [fact] = await drain();
    if (!fact) throw new Error('no fact was published');
    const job = `${fixture.environment['SLUICE_KEY_PREFIX']}:{doubtful}:job:${fact.jobId}`;
    const state = async (): Promise<string | undefined> => (await redis.get(job))?.split('\n')[0];
    while ((await state()) !== 'queued') await sleep(5);
    await redis.set(job, ((await redis.get(job)) ?? '').replace('queued', 'reserved'), 'KEEPTTL');

    expect((await submit(key, good, headers)).body).toEqual(first.body);
    expect(await drain()).toEqual([fact]);
    while ((await state()) !== 'queued') await sleep(5);
    expect(await monthly(key)).toEqual({ used: 0, held: 22 });
  });

  it('of another request is refused', async () => {
    const key = await createTenant(gateway.url, 'clash');
    const headers = { 'idempotency-key': randomUUID() };
    await submit(key, good, headers);
    const { body } = await submit(key, { ...good, input: 'something else' }, headers);
    expect(body).toMatchObject({ status: 422, code: 'idempotency_key_reused', errors: [{ field: 'Idempotency-Key' }] });
  });

  it('belongs to one tenant', async () => {
    const headers = { 'idempotency-key': 'shared' };
    const [one, two] = [await createTenant(gateway.url, 'one'), await createTenant(gateway.url, 'two')];
    const [first, second] = [await submit(one, good, headers), await submit(two, good, headers)];
    expect((first.body as { id: string }).id).not.toBe((second.body as { id: string }).id);
  });

  it('makes one job of many requests at once', async () => {
    const key = await createTenant(gateway.url, 'stampede');
    const headers = { 'idempotency-key': randomUUID() };
    const answers = await Promise.all(Array.from({ length: 10 }, () => submit(key, good, headers)));
    expect(new Set(answers.map(({ body }) => (body as { id: string }).id)).size).toBe(1);
    expect(await monthly(key)).toEqual({ used: 0, held: 22 });
  });
});

describe('waiting for a job', () => {
  it('answers as soon as it is settled', async () => {
    const key = await createTenant(gateway.url, 'waiting');
    await drain();
    const { body } = await submit(key);
    const [fact] = await drain();
    if (!fact) throw new Error('no fact was published');
    const waiting = send(gateway.url, `/v1/jobs/${fact.jobId}?wait=30`, { key });

    const { jobId, tenantId, apiKeyId, model, class: jobClass, reservedTokens } = fact;
    const usage = { inputTokens: reservedTokens, outputTokens: 0, cachedTokens: 0 };
    const output = { task: 'text-classification' as const, classifications: [[{ label: 'py', score: 0.5 }]] };
    const end = { state: 'succeeded' as const, usage, output, attempt: 1, finishedAtMs: Date.now() };
    await fixture.complete({ jobId, tenantId, apiKeyId, model, class: jobClass, ...end });

    expect((await waiting).body).toMatchObject({ id: (body as { id: string }).id, state: 'succeeded', usage, output });
    expect(await monthly(key)).toEqual({ used: 22, held: 0 });
  });

  it('ends with the state as it is when the time is over', async () => {
    const key = await createTenant(gateway.url, 'impatient');
    const { body } = await submit(key);
    const answer = await send(gateway.url, `/v1/jobs/${(body as { id: string }).id}?wait=0.2`, { key });
    expect(answer).toMatchObject({ status: 200, body: { state: 'queued' } });
  });
});

describe('a gateway', () => {
  it('keeps idle connections longer than proxies do, and as long as it says', async () => {
    const { headers } = await send(gateway.url, '/livez');
    expect(headers.get('keep-alive')).toBe('timeout=75');

    const brief = await fixture.startGateway({ SLUICE_KEEP_ALIVE_TIMEOUT: '1s' });
    const socket = connect(Number(new URL(brief.url).port), '127.0.0.1');
    const closed = once(socket, 'end');
    socket.write('GET /livez HTTP/1.1\r\nHost: a\r\n\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toContain('Keep-Alive: timeout=1');
    const answeredAt = performance.now();
    await closed;
    expect(performance.now() - answeredAt).toBeGreaterThan(900);
  });

  it('that is told to end answers what is in flight, long polls too, and exits cleanly', async () => {
    const leaving = await fixture.startGateway();
    const key = await createTenant(leaving.url, 'leaving');
    const { body } = await submit(key, good, {}, leaving.url);
    const path = `/v1/jobs/${(body as { id: string }).id}?wait=60`;
    const poll = send(leaving.url, path, { key });
    const submissions = Array.from({ length: 50 }, () => submit(key, good, {}, leaving.url));
    await submissions[0];
    leaving.process.kill('SIGTERM');
    const answers = await Promise.allSettled(submissions);
    const accepted = answers.filter((answer) => answer.status === 'fulfilled' && answer.value.status === 202);
    expect((await poll).body).toMatchObject({ state: 'queued' });
    expect(await leaving.stop()).toBe(0);
    // Every hold belongs to a job that was answered, or whose request never arrived.
    expect(await monthly(key)).toEqual({ used: 0, held: (accepted.length + 1) * 22 });
  });

  it('that is told to end does so although clients never pause, and breaks no request it has taken', async () => {
    const leaving = await fixture.startGateway();
    const key = await createTenant(leaving.url, 'restless');
    let accepted = 0;
    const client = async (): Promise<void> => {
      for (;;) {
        const answer = await submit(key, good, {}, leaving.url).catch(() => undefined);
        if (!answer) return;
        if (answer.status === 202) accepted += 1;
      }
    };
    const clients = Array.from({ length: 24 }, client);
    while (accepted < 200) await sleep(5);
    leaving.process.kill('SIGTERM');
    expect(await leaving.stop()).toBe(0);
    await Promise.all(clients);
    // A request that was taken and then cut off would have left a hold that nobody knows of.
    expect(await monthly(key)).toEqual({ used: 0, held: accepted * 22 });
  });

  it('without a broker refuses at once, reserves nothing, and is not ready', async () => {
    const { proxy, url } = await fixture.proxyOf('SLUICE_RABBITMQ_URL');
    const alone = await fixture.startGateway({ SLUICE_RABBITMQ_URL: url });
    const key = await createTenant(alone.url, 'alone');
    expect((await submit(key, good, {}, alone.url)).status).toBe(202);
    expect((await send(alone.url, '/readyz')).status).toBe(200);

    proxy.cut();
    while ((await send(alone.url, '/readyz')).status === 200) await sleep(20);
    const refused = await submit(key, good, {}, alone.url);
    expect(refused.body).toMatchObject({ status: 503, code: 'broker_unavailable', retryable: true });
    expect(refused.headers.get('retry-after')).toBe('1');
    expect((await send(alone.url, '/health')).body).toMatchObject({ ok: false, rabbitmq: 'unavailable', redis: 'ok' });
    expect((await send(alone.url, '/livez')).status).toBe(200);
    expect(await monthly(key, alone.url)).toEqual({ used: 0, held: 22 });

    proxy.restore();
    while ((await send(alone.url, '/readyz')).status !== 200) await sleep(50);
    expect((await submit(key, good, {}, alone.url)).status).toBe(202);
  });

  it('without Redis refuses within the deadline and recovers by itself', async () => {
    const { proxy, url } = await fixture.proxyOf('SLUICE_REDIS_URL');
    const alone = await fixture.startGateway({ SLUICE_REDIS_URL: url });
    const key = await createTenant(alone.url, 'no-redis');
    expect((await submit(key, good, {}, alone.url)).status).toBe(202);
    proxy.cut();
    expect((await submit(key, good, {}, alone.url)).body).toMatchObject({ status: 503, code: 'quota_unavailable' });
    proxy.restore();
    while ((await send(alone.url, '/readyz')).status !== 200) await sleep(50);
    expect((await submit(key, good, {}, alone.url)).status).toBe(202);
  });

  it('without PostgreSQL goes on admitting tenants it knows', async () => {
    const { proxy, url } = await fixture.proxyOf('SLUICE_POSTGRES_URL');
    const alone = await fixture.startGateway({ SLUICE_POSTGRES_URL: url, SLUICE_KEY_CACHE_TTL: '1ms' });
    const key = await createTenant(alone.url, 'no-postgres');
    expect((await submit(key, good, {}, alone.url)).status).toBe(202);
    proxy.cut();
    expect((await submit(key, good, {}, alone.url)).status).toBe(202);
    expect((await submit('slk_never_seen_before', good, {}, alone.url)).body).toMatchObject({
      code: 'store_unavailable',
    });
    expect((await send(alone.url, '/readyz')).status).toBe(200);
    expect((await send(alone.url, '/v1/usage', { key })).body).toMatchObject({
      status: 503,
      code: 'store_unavailable',
    });
  });
});

describe('the account', () => {
  it('lists models with what they take', async () => {
    const key = await createTenant(gateway.url, 'lister');
    const { body } = await send(gateway.url, '/v1/models', { key });
    const models = (body as { data: { id: string }[] }).data;
    expect(models.map(({ id }) => id).sort()).toEqual(['guesslang', 'use-lite-en', 'use-lite-en-int8']);
    expect(models.find(({ id }) => id === 'use-lite-en')).toMatchObject({ task: 'embedding', dimensions: 512 });
  });

  it('reports usage in the zone of the tenant', async () => {
    const key = await createTenant(gateway.url, 'reporter', 'demo', 'Asia/Kathmandu');
    const { body } = await send(gateway.url, '/v1/usage?groupBy=model', { key });
    expect(body).toMatchObject({ object: 'usage', groupBy: 'model', timeZone: 'Asia/Kathmandu', data: [] });
    const range = async (query: string): Promise<unknown> =>
      (await send(gateway.url, `/v1/usage?${query}`, { key })).body;
    expect(await range('from=2026-11-01&to=2026-12-01')).toMatchObject({
      from: '2026-10-31T18:15:00.000Z',
      to: '2026-11-30T18:15:00.000Z',
    });
    expect(await range('from=2026-11-01T00:01:00Z&to=2026-11-01T00:16:00Z')).toMatchObject({
      from: '2026-11-01T00:00:00.000Z',
      to: '2026-11-01T00:30:00.000Z',
    });
  });
});
