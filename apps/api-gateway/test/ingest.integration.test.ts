import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { HEADERS, jobViewSchema, problemSchema } from '@sluice/contracts';
import type { GetMessage, Message } from 'amqplib';
import { administer, createFixture, createTenant, send, type Fixture, type Gateway } from './gateway-fixture.js';
import { createProducer, type Producer } from './producer.js';

const good = { model: 'guesslang', input: 'print("hello, world")\n' };
let fixture: Fixture;
let gateway: Gateway;
let producer: Producer;
let key: string;

beforeAll(async () => {
  fixture = await createFixture({ plans: 'one-a-minute: { limits: { requestsPerMinute: 1 } }' });
  gateway = await fixture.startGateway({ SLUICE_KEY_CACHE_TTL: '1ms', SLUICE_MAX_BODY_BYTES: '4096' });
  producer = await createProducer(fixture.environment['SLUICE_RABBITMQ_URL'] ?? '');
  key = await createTenant(gateway.url, 'shop');
  await register('shop');
}, 60_000);
afterAll(async () => {
  await producer.close();
  await fixture.close();
});

async function register(tenantId: string, url = gateway.url): Promise<void> {
  await administer(url, 'PUT', `/producers/${producer.userId}`, { tenantId });
}

/** Takes the next message out of a queue, waiting for it. */
async function take(queue: string): Promise<GetMessage> {
  const channel = await fixture.amqp.createChannel();
  let message = await channel.get(queue, { noAck: true });
  for (; !message; message = await channel.get(queue, { noAck: true })) await sleep(20);
  await channel.close();
  return message;
}

describe('a submission over AMQP', () => {
  it('is admitted for the tenant of its user and answered by the job', async () => {
    const messageId = randomUUID();
    const body = { ...good, class: 'interactive', metadata: { order: 'Ünïcödé 💥' }, expiresIn: 60 };
    const reply = await producer.ask(body, { messageId, correlationId: 'my own', type: 'job.submit.v1' });
    expect(reply).toMatchObject({ type: 'job.accepted.reply.v1', contentType: 'application/json' });
    const job = jobViewSchema.parse(reply.body);
    expect(job).toMatchObject({ state: 'queued', class: 'interactive', metadata: body.metadata });
    expect(Date.parse(job.expiresAt) - Date.parse(job.createdAt)).toBe(60_000);

    const work = JSON.parse((await take('work.text.interactive')).content.toString()) as { apiKeyId: string };
    expect(work).toMatchObject({ jobId: job.id, tenantId: 'shop', input: good.input });
    const { apiKeyId } = await fixture.collector.recorded(job.id);
    expect(apiKeyId).toBe(work.apiKeyId);
    expect((await send(gateway.url, `/v1/jobs/${job.id}`, { key })).body).toMatchObject({ id: job.id });
  });

  it('is answered under its message id when it names no correlation id', async () => {
    const messageId = randomUUID();
    expect((await producer.ask(good, { messageId })).correlationId).toBe(messageId);
  });

  it('gives the same job when it is sent again, and is refused with another body', async () => {
    const messageId = randomUUID();
    const first = await producer.ask(good, { messageId, correlationId: `${messageId} 1` });
    const again = await producer.ask(good, { messageId, correlationId: `${messageId} 2` });
    const other = await producer.ask({ ...good, input: 'other' }, { messageId, correlationId: `${messageId} 3` });
    expect(again.body).toEqual(first.body);
    expect(other.body).toMatchObject({ code: 'idempotency_key_reused', errors: [{ field: 'message_id' }] });
  });

  it('shares no idempotency key with a client of HTTP that names the same id', async () => {
    const messageId = randomUUID();
    const { body } = await producer.ask(good, { messageId });
    for (const idempotencyKey of [messageId, `amqp:${messageId}`]) {
      const headers = { 'idempotency-key': idempotencyKey };
      const http = await send(gateway.url, '/v1/jobs', { method: 'POST', key, headers, body: JSON.stringify(good) });
      expect(http.status).toBe(202);
      expect((http.body as { id: string }).id).not.toBe(body['id']);
    }
  });

  it('is answered by direct reply-to as well', async () => {
    const channel = await fixture.amqp.createChannel();
    const reply = new Promise<Message | null>((resolve) => {
      void channel.consume('amq.rabbitmq.reply-to', resolve, { noAck: true }).then(() => {
        const { userId } = producer;
        const direct = { messageId: randomUUID(), replyTo: 'amq.rabbitmq.reply-to', contentType: 'application/json' };
        channel.publish('ingest', 'job', Buffer.from(JSON.stringify(good)), { ...direct, userId });
      });
    });
    expect((await reply)?.properties).toMatchObject({ type: 'job.accepted.reply.v1' });
    await channel.close();
  });

  it('is told which limit refused it and when to try again', async () => {
    await createTenant(gateway.url, 'slow', 'one-a-minute');
    await register('slow');
    const [first, second] = [randomUUID(), randomUUID()];
    expect(await producer.ask(good, { messageId: first })).toMatchObject({ type: 'job.accepted.reply.v1' });
    const refused = await producer.ask(good, { messageId: second });
    await register('shop');
    expect(refused).toMatchObject({ type: 'job.refused.reply.v1', contentType: 'application/problem+json' });
    const problem = problemSchema.parse(refused.body);
    expect(problem).toMatchObject({ code: 'rate_limited', limit: 'requests-per-minute', retryable: true });
    expect(problem.retryAfterSeconds).toBeGreaterThan(30);
  });
});

describe('a bad submission', () => {
  const text = (content: string): Buffer => Buffer.from(content);
  it.each([
    ['an empty body', text(''), {}, 'invalid_json'],
    ['no JSON', text('{"model": '), {}, 'invalid_json'],
    ['no UTF-8', Buffer.from([0x22, 0xff, 0x22]), {}, 'invalid_json'],
    ['a list', text('[]'), {}, 'invalid_request'],
    ['null', text('null'), {}, 'invalid_request'],
    ['a field that nobody knows', text('{"model":"guesslang","input":"x","extra":1}'), {}, 'invalid_request'],
    ['half of a surrogate pair', text('{"model":"guesslang","input":"\\ud800"}'), {}, 'invalid_request'],
    ['an empty input', text('{"model":"guesslang","input":[]}'), {}, 'invalid_request'],
    ['a deadline in the past', text('{"model":"guesslang","input":"x","expiresIn":-1}'), {}, 'invalid_request'],
    ['an unknown model', text('{"model":"nobody","input":"x"}'), {}, 'model_not_found'],
    ['a body that is too large', Buffer.alloc(5_000, 'x'), {}, 'payload_too_large'],
    ['another type', text(JSON.stringify(good)), { type: 'job.accepted.v1' }, 'invalid_request'],
    ['another media type', text(JSON.stringify(good)), { contentType: 'text/plain' }, 'unsupported_media_type'],
    ['no media type', text(JSON.stringify(good)), { contentType: undefined }, 'unsupported_media_type'],
    ['no message id', text(JSON.stringify(good)), { messageId: undefined }, 'invalid_request'],
    ['a message id with a space', text(JSON.stringify(good)), { messageId: 'a b' }, 'invalid_request'],
    ['a message id beyond ASCII', text(JSON.stringify(good)), { messageId: 'ä' }, 'invalid_request'],
    ['no user', text(JSON.stringify(good)), { userId: undefined }, 'unauthenticated'],
  ])('with %s is refused', async (_what, body, properties, code) => {
    const correlationId = randomUUID();
    const reply = await producer.ask(body, { messageId: randomUUID(), correlationId, ...properties });
    expect(reply).toMatchObject({ type: 'job.refused.reply.v1', contentType: 'application/problem+json' });
    expect(problemSchema.parse(reply.body).code).toBe(code);
  });

  it('of a user who is no producer is refused', async () => {
    await administer(gateway.url, 'DELETE', `/producers/${producer.userId}`);
    const reply = await producer.ask(good, { messageId: randomUUID() });
    await register('shop');
    expect(reply.body).toMatchObject({ code: 'forbidden' });
    // Unknown users are remembered for a moment.
    for (let known = false; !known;) {
      const { type } = await producer.ask(good, { messageId: randomUUID() });
      known = type === 'job.accepted.reply.v1';
      if (!known) await sleep(200);
    }
  });

  it('becomes a dead letter when it names no queue for the answer', async () => {
    const messageId = randomUUID();
    await producer.send(text('{}'), { messageId, replyTo: undefined });
    const letter = await take('dead');
    expect(letter.properties).toMatchObject({
      messageId,
      headers: { [HEADERS.reason]: 'invalid_request', [HEADERS.source]: 'ingest', 'x-user-id': producer.userId },
    });
  });

  it.each(['results', 'dead', 'ingest', 'work.text.standard', 'retry.5s', 'fence.x'])(
    'that wants its answer in the queue %s of the suite is a dead letter and no job',
    async (replyTo) => {
      const messageId = randomUUID();
      const before = fixture.collector.accepted.length;
      await producer.send(good, { messageId, replyTo });
      const letter = await take('dead');
      expect(letter.properties).toMatchObject({ messageId, headers: { [HEADERS.reason]: 'invalid_request' } });
      expect(fixture.collector.accepted).toHaveLength(before);
    },
  );
});

describe('the queue', () => {
  it('goes on after an answer that nobody takes, and its job exists', async () => {
    const messageId = randomUUID();
    await producer.send(good, { messageId, replyTo: 'nobody-is-here' });
    const again = await producer.ask(good, { messageId, correlationId: randomUUID() });
    expect(again).toMatchObject({ type: 'job.accepted.reply.v1' });
    while ((await fixture.depth('ingest')) > 0) await sleep(20);
  });

  it('keeps what comes while no gateway runs, and trouble that passes is waited out', async () => {
    await gateway.stop();
    const early = randomUUID();
    await producer.send(good, { messageId: early });
    const { proxy, url } = await fixture.proxyOf('SLUICE_REDIS_URL');
    gateway = await fixture.startGateway({ SLUICE_REDIS_URL: url });
    expect(await producer.reply(early)).toMatchObject({ type: 'job.accepted.reply.v1' });

    proxy.cut();
    const late = randomUUID();
    await producer.send(good, { messageId: late });
    const health = async (): Promise<unknown> => (await send(gateway.url, '/health')).body;
    while (((await health()) as { redis: string }).redis === 'ok') await sleep(20);
    expect(producer.replies(late)).toEqual([]);
    proxy.restore();
    expect(await producer.reply(late)).toMatchObject({ type: 'job.accepted.reply.v1' });
  });

  it('loses and doubles nothing when gateways are killed and drained in the middle', async () => {
    const ids = Array.from({ length: 300 }, () => randomUUID());
    const second = await fixture.startGateway();
    await Promise.all(ids.map((messageId) => producer.send(good, { messageId })));
    await producer.reply(ids[40] ?? '');
    gateway.process.kill('SIGKILL');
    await producer.reply(ids[120] ?? '');
    const [code] = await Promise.all([second.stop(), fixture.startGateway().then((third) => (gateway = third))]);
    expect(code).toBe(0);

    const replies = await Promise.all(ids.map((id) => producer.reply(id)));
    expect(replies.filter(({ type }) => type !== 'job.accepted.reply.v1')).toEqual([]);
    for (const id of ids) expect(new Set(producer.replies(id).map(({ body }) => body['id'])).size).toBe(1);
    const jobs = replies.map(({ body }) => String(body['id']));
    expect(new Set(jobs).size).toBe(ids.length);
    await Promise.all(jobs.map((id) => fixture.collector.recorded(id)));
    // n.b. a job may be queued twice, under one id.
    const accepted = new Set(fixture.collector.accepted.map(({ jobId }) => jobId));
    for (const id of jobs) expect(accepted).toContain(id);
  });

  it('is left alone by a gateway with SLUICE_INGEST=off', async () => {
    await gateway.stop();
    gateway = await fixture.startGateway({ SLUICE_INGEST: 'off' });
    const messageId = randomUUID();
    await producer.send(good, { messageId });
    expect((await send(gateway.url, '/health')).body).not.toHaveProperty('ingest');
    expect(await fixture.depth('ingest')).toBe(1);
  });
});
