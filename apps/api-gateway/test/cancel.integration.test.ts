import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  cancelMessageSchema,
  EXCHANGES,
  MESSAGE_TYPES,
  NO_USAGE,
  newJobId,
  type AcceptedMessage,
  type CompletedMessage,
  type HoldingMessage,
} from '@sluice/contracts';
import { closeRedis, connectRedis, redisReady, type RedisConnection } from '@sluice/quota';
import { createLogger } from '@sluice/runtime';
import { createFixture, createTenant, send, type Answer, type Fixture, type Gateway } from './gateway-fixture.js';

/** A database of its own in the Redis of the test run, because it is emptied. */
const REDIS_DATABASE = 12;

let fixture: Fixture;
let redis: RedisConnection;
let gateway: Gateway;
let other: Gateway;

beforeAll(async () => {
  fixture = await createFixture({ redisDatabase: REDIS_DATABASE });
  const logger = createLogger({ app: 'test', level: 'silent' });
  redis = connectRedis({ url: fixture.environment['SLUICE_REDIS_URL'] ?? '', name: 'test', logger });
  await redisReady(redis, 5_000);
  [gateway, other] = await Promise.all([fixture.startGateway(), fixture.startGateway()]);
}, 60_000);
afterAll(async () => {
  await closeRedis(redis);
  await fixture.close();
});

/** A recorded job of a tenant of its own. */
async function submit(tenantId: string): Promise<{ key: string; path: string; fact: AcceptedMessage }> {
  const key = await createTenant(gateway.url, tenantId);
  const body = JSON.stringify({ model: 'guesslang', input: 'print("hello, world")\n' });
  const accepted = await send(gateway.url, '/v1/jobs', { method: 'POST', key, body });
  const { id } = accepted.body as { id: string };
  return { key, path: `/v1/jobs/${id}`, fact: await fixture.collector.recorded(id) };
}

function cancel(key: string, path: string, url = gateway.url): Promise<Answer> {
  return send(url, path, { method: 'DELETE', key });
}

function endOf(fact: AcceptedMessage, rest: Pick<CompletedMessage, 'state' | 'usage'>): CompletedMessage {
  const { jobId, tenantId, apiKeyId, model, reservedTokens, reservedNanoUsd } = fact;
  const account = { jobId, tenantId, apiKeyId, model, class: fact.class, reservedTokens, reservedNanoUsd };
  return { ...account, ...rest, attempt: 1, finishedAtMs: Date.now() };
}

function ends({ jobId }: AcceptedMessage): readonly CompletedMessage[] {
  return fixture.collector.completed.filter((message) => message.jobId === jobId);
}

async function held(key: string): Promise<number> {
  const { body } = await send(gateway.url, '/v1/quota', { key });
  return (body as { limits: { held: number }[] }).limits.reduce((sum, limit) => sum + limit.held, 0);
}

/** Stands for a worker that is told of a cancellation, answers that it has the job if it does, and does `work` then. */
async function worker(
  work: () => Promise<void> | void,
  holding?: HoldingMessage['holding'],
): Promise<{ close(): Promise<void> }> {
  const channel = await fixture.amqp.createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, EXCHANGES.cancellations, '');
  await channel.consume(
    queue,
    (message) => {
      if (message?.properties.type !== MESSAGE_TYPES.cancel) return;
      const { jobId } = cancelMessageSchema.parse(JSON.parse(message.content.toString()));
      const answer: HoldingMessage | undefined = holding && { jobId, holding };
      const { replyTo } = message.properties as { readonly replyTo: string };
      if (answer) channel.sendToQueue(replyTo, Buffer.from(JSON.stringify(answer)), { type: MESSAGE_TYPES.holding });
      void work();
    },
    { noAck: true },
  );
  return channel;
}

describe('DELETE of a job', () => {
  it('that no worker has ends it unbilled and gives back what it held', async () => {
    const { key, path, fact } = await submit('queued');
    expect(await held(key)).toBeGreaterThan(0);
    const { status, body } = await cancel(key, path);
    expect(status).toBe(200);
    expect(body).toMatchObject({ id: fact.jobId, state: 'canceled', usage: NO_USAGE, amountNanoUsd: '0' });
    expect(ends(fact)).toMatchObject([{ state: 'canceled', reservedTokens: fact.reservedTokens, attempt: 1 }]);
    expect(await held(key)).toBe(0);
  });

  it('can be repeated', async () => {
    const { key, path, fact } = await submit('repeated');
    const first = await cancel(key, path);
    expect(await cancel(key, path, other.url)).toMatchObject({ status: 200, body: first.body });
    expect(ends(fact)).toHaveLength(1);
  });

  it('may come to two gateways at once', async () => {
    const { key, path } = await submit('twice');
    const answers = await Promise.all([cancel(key, path), cancel(key, path, other.url)]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    expect(await held(key)).toBe(0);
  });

  it('leaves the end to the worker that answers, with what was used', async () => {
    const { key, path, fact } = await submit('answered');
    const usage = { inputTokens: 5, outputTokens: 0, cachedTokens: 0 };
    const channel = await worker(() => fixture.complete(endOf(fact, { state: 'canceled', usage })));
    const { status, body } = await cancel(key, path);
    await channel.close();
    expect([status, body]).toMatchObject([200, { state: 'canceled', usage }]);
    expect(ends(fact)).toHaveLength(1);
  });

  it('is refused when the worker was done before it heard of it', async () => {
    const { key, path, fact } = await submit('too-late');
    const usage = { inputTokens: 22, outputTokens: 0, cachedTokens: 0 };
    const channel = await worker(() => fixture.complete(endOf(fact, { state: 'succeeded', usage })));
    const { status, body } = await cancel(key, path);
    await channel.close();
    expect([status, body]).toMatchObject([409, { code: 'job_ended', state: 'succeeded' }]);
  });

  it('of a running job is under way until its worker answers', async () => {
    const { key, path, fact } = await submit('running');
    await fixture.collector.quota.running([fact]);
    expect((await send(gateway.url, path, { key })).body).toMatchObject({ state: 'running' });
    const { status, body } = await cancel(key, path);
    expect([status, body]).toMatchObject([202, { id: fact.jobId, state: 'running' }]);
    expect(ends(fact)).toEqual([]);

    await fixture.complete(
      endOf(fact, { state: 'canceled', usage: { inputTokens: 7, outputTokens: 0, cachedTokens: 0 } }),
    );
    expect((await send(gateway.url, `${path}?wait=10`, { key })).body).toMatchObject({ state: 'canceled' });
    expect((await cancel(key, path)).body).toMatchObject({ state: 'canceled', usage: { inputTokens: 7 } });
  });

  it('waits for a worker that says that it runs the job, whose end then stands, though Redis has forgotten all', async () => {
    const { key, path, fact } = await submit('forgotten');
    const usage = { inputTokens: 9, outputTokens: 0, cachedTokens: 0 };
    const channel = await worker(async () => {
      await redis.flushdb();
      await sleep(1_500);
      await fixture.complete(endOf(fact, { state: 'canceled', usage }));
    }, 'running');
    const { status, body } = await cancel(key, path);
    await channel.close();
    expect([status, body]).toMatchObject([200, { state: 'canceled', usage }]);
    expect(ends(fact)).toHaveLength(1);
  });

  it('never ends a job that a worker has, also when that is slow and its facts are not recorded', async () => {
    const { key, path, fact } = await submit('slow');
    fixture.collector.holdBack();
    const channel = await worker(() => redis.flushdb().then(() => undefined), 'running');
    const answers = await Promise.all([cancel(key, path), cancel(key, path, other.url)]);
    await channel.close();
    expect(answers).toMatchObject([
      { status: 202, body: { state: 'running' } },
      { status: 202, body: { state: 'running' } },
    ]);
    expect(ends(fact)).toEqual([]);

    const usage = { inputTokens: 3, outputTokens: 0, cachedTokens: 0 };
    await fixture.complete(endOf(fact, { state: 'canceled', usage }));
    fixture.collector.release();
    expect((await send(gateway.url, `${path}?wait=10`, { key })).body).toMatchObject({ state: 'canceled', usage });
  });

  it('of a job that waits at a worker is answered by its end', async () => {
    const { key, path, fact } = await submit('waiting');
    const channel = await worker(
      () => fixture.complete(endOf(fact, { state: 'canceled', usage: NO_USAGE })),
      'waiting',
    );
    expect(await cancel(key, path)).toMatchObject({ status: 200, body: { state: 'canceled', usage: NO_USAGE } });
    await channel.close();
    expect(ends(fact)).toHaveLength(1);
  });

  it('is answered by 202 while the end is not recorded', async () => {
    const { key, path, fact } = await submit('unrecorded');
    fixture.collector.holdBack();
    const { status, body } = await cancel(key, path);
    fixture.collector.release();
    expect([status, body]).toMatchObject([202, { id: fact.jobId, state: 'queued' }]);
    expect((await send(gateway.url, `${path}?wait=10`, { key })).body).toMatchObject({ state: 'canceled' });
  });

  it.each(['succeeded', 'failed', 'expired'] as const)('that has %s is refused', async (state) => {
    const { key, path, fact } = await submit(`ended-${state}`);
    await fixture.complete(endOf(fact, { state, usage: NO_USAGE }));
    await send(gateway.url, `${path}?wait=10`, { key });
    const { status, body } = await cancel(key, path);
    expect([status, body]).toMatchObject([409, { code: 'job_ended', state, detail: `The job has ${state} already.` }]);
    expect(ends(fact)).toHaveLength(1);
  });

  it('is refused while RabbitMQ is away, and works while Redis is', async () => {
    const { proxy: rabbitmq, url: rabbitmqUrl } = await fixture.proxyOf('SLUICE_RABBITMQ_URL');
    const { proxy: redisProxy, url: redisUrl } = await fixture.proxyOf('SLUICE_REDIS_URL');
    const shaky = await fixture.startGateway({ SLUICE_RABBITMQ_URL: rabbitmqUrl, SLUICE_REDIS_URL: redisUrl });
    const { key, path, fact } = await submit('outage');
    rabbitmq.cut();
    expect(await cancel(key, path, shaky.url)).toMatchObject({ status: 503, body: { retryable: true } });
    expect(ends(fact)).toEqual([]);
    rabbitmq.restore();
    const ready = async (): Promise<number> => (await send(shaky.url, '/readyz')).status;
    while ((await ready()) !== 200) await sleep(50);

    redisProxy.cut();
    // It is connected and may not be able to hear workers yet.
    let answer = await cancel(key, path, shaky.url);
    while (answer.status === 503) answer = await cancel(key, path, shaky.url);
    expect(answer).toMatchObject({ status: 200, body: { state: 'canceled' } });
    redisProxy.restore();
  }, 30_000);

  it('of another tenant, of nobody, and of what is no id is 404', async () => {
    const { path, fact } = await submit('mine');
    const key = await createTenant(gateway.url, 'theirs');
    for (const wrong of [path, `/v1/jobs/${newJobId()}`, '/v1/jobs/1', `${path}%00`]) {
      expect(await cancel(key, wrong)).toMatchObject({ status: 404, body: { code: 'job_not_found' } });
    }
    expect(ends(fact)).toEqual([]);
  });

  it('without a key, or with a query, is refused', async () => {
    const { key, path } = await submit('strict');
    expect((await send(gateway.url, path, { method: 'DELETE' })).status).toBe(401);
    expect((await cancel(key, `${path}?force=true`)).body).toMatchObject({ status: 400, errors: [{ field: 'force' }] });
    const options = await send(gateway.url, path, { method: 'OPTIONS' });
    expect(options.headers.get('allow')).toBe('GET, HEAD, DELETE, OPTIONS');
  });
});
