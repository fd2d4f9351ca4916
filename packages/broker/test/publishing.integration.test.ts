import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createBrokerConnection, createPublisher } from '../src/index.js';
import { job, logger, openBench, openWire, outcome, take, until, type Bench } from './support.js';

describe('publishing', () => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.release());
  afterAll(() => bench.close());

  it('resolves when the message is in the queue, durable and with its properties', async () => {
    const pool = await bench.pool();
    await bench.publisher.publish({ ...job(pool, 'm1'), headers: { traceparent: '00-1', 'x-attempt': 2 } });
    const { content, properties, fields } = await take(bench.inspect, `work.${pool}.standard`);
    expect(JSON.parse(content.toString())).toEqual({ messageId: 'm1' });
    expect(properties).toMatchObject({
      deliveryMode: 2,
      contentType: 'application/json',
      type: 'job.accepted.v1',
      messageId: 'm1',
      headers: { traceparent: '00-1', 'x-attempt': 2 },
    });
    expect(fields.routingKey).toBe(`${pool}.standard`);
  });

  it('hands the messages of one turn to the socket together', async () => {
    const pool = await bench.pool();
    const publishing = bench.keep(createBrokerConnection({ url: bench.url, name: 'shared', logger }));
    await publishing.start();
    const publisher = bench.keep(createPublisher({ connection: publishing, logger, deadlineMs: 5_000 }));
    await publisher.start();
    const { connection } = (await publishing.open(AbortSignal.timeout(5_000))) as unknown as {
      readonly connection: { readonly stream: Socket & { _writev(...args: unknown[]): void } };
    };
    const { stream } = connection;
    const shared: number[] = [];
    const writev = stream._writev.bind(stream);
    stream._writev = (chunks: unknown[], ...rest: unknown[]) => {
      shared.push(chunks.length);
      writev(chunks, ...rest);
    };
    await Promise.all(Array.from({ length: 20 }, () => publisher.publish(job(pool))));
    expect(shared).toEqual([20]);
  });

  it('carries the properties that a message asks for', async () => {
    const pool = await bench.pool();
    const wanted = { contentType: 'application/cloudevents+json', replyTo: 'answers', correlationId: 'c1' };
    await bench.publisher.publish({ ...job(pool), ...wanted, expirationMs: 60_000 });
    const { properties } = await take(bench.inspect, `work.${pool}.standard`);
    expect(properties).toMatchObject({ ...wanted, expiration: '60000' });
  });

  it('confirms news that nobody takes when it need not be taken', async () => {
    const news = { ...job('x'), exchange: 'cancellations' };
    await expect(outcome(bench.publisher.publish(news))).resolves.toBe('broker_unavailable');
    await expect(outcome(bench.publisher.publish({ ...news, mandatory: false }))).resolves.toBe('resolved');
  });

  it('brings the submissions of other services to the queue ingest, whatever their routing key', async () => {
    const submission = { ...job('x'), exchange: 'ingest' };
    await bench.publisher.publish({ ...submission, routingKey: 'a.b.c', messageId: 's1' });
    await bench.publisher.publish({ ...submission, routingKey: '', messageId: 's2' });
    const taken: string[] = [];
    for (let i = 0; i < 2; i++) {
      await until(async () => {
        const message = await bench.inspect.get('ingest', { noAck: true });
        if (message) taken.push(String(message.properties.messageId));
        return message !== false;
      });
    }
    expect(taken).toEqual(['s1', 's2']);
  });

  it('refuses what belongs to an earlier connection', async () => {
    const pool = await bench.pool();
    const wire = await openWire(bench.url);
    const connection = bench.keep(createBrokerConnection({ url: wire.url, name: 'cut', logger }));
    expect(connection.generation).toBe(0);
    await connection.start();
    const publisher = bench.keep(createPublisher({ connection, logger, deadlineMs: 5_000 }));
    await publisher.start();
    const { generation } = connection;
    await publisher.publish(job(pool, 'in-time'), { generation });
    wire.cut();
    await until(() => connection.generation > generation);
    await until(async () => (await outcome(publisher.publish(job(pool, 'any')))) === 'resolved');
    expect(connection.generation).toBe(generation + 1);
    await expect(outcome(publisher.publish(job(pool, 'late'), { generation }))).resolves.toBe('broker_unavailable');
    await publisher.publish(job(pool, 'last'), { generation: connection.generation });
    const { messageCount } = await bench.inspect.checkQueue(`work.${pool}.standard`);
    expect(messageCount).toBe(3); // in-time, any, last
    await bench.release();
    await wire.close();
  });

  it('has a barrier that waits for what was published before it', async () => {
    const pool = await bench.pool();
    const publishes = Array.from({ length: 200 }, () => outcome(bench.publisher.publish(job(pool))));
    await bench.publisher.barrier();
    expect(bench.publisher.inFlight).toBe(0);
    expect(new Set(await Promise.all(publishes))).toEqual(new Set(['resolved']));
    await bench.publisher.barrier();
  });

  it('has a barrier that outlasts deadlines and ends with the channel', async () => {
    const pool = await bench.pool();
    const wire = await openWire(bench.url);
    const connection = bench.keep(createBrokerConnection({ url: wire.url, name: 'held', logger }));
    await connection.start();
    const publisher = bench.keep(createPublisher({ connection, logger, deadlineMs: 50 }));
    await publisher.start();
    wire.hold();
    const told: string[] = [];
    const publish = outcome(publisher.publish(job(pool))).then((answer) => told.push(answer));
    const barrier = publisher.barrier().then(() => told.push('barrier'));
    await publish;
    expect(told).toEqual(['publish_unconfirmed']);
    wire.cut();
    await barrier;
    await bench.release();
    await wire.close();
  });

  it('confirms each of many messages in flight and loses none', async () => {
    const pool = await bench.pool();
    const ids = Array.from({ length: 1_000 }, () => randomUUID());
    await Promise.all(ids.map((id) => bench.publisher.publish(job(pool, id))));
    expect(bench.publisher.inFlight).toBe(0);
    const found: string[] = [];
    for (const _ of ids) {
      const message = await bench.inspect.get(`work.${pool}.standard`, { noAck: true });
      if (message) found.push(String(message.properties.messageId));
    }
    expect(found).toEqual(ids);
  });

  it('makes a submission work and fact at once', async () => {
    const pool = await bench.pool();
    await bench.publisher.publish({ ...job(pool, 'both'), exchange: 'submissions' });
    const [work, fact] = [await take(bench.inspect, `work.${pool}.standard`), await take(bench.inspect, 'results')];
    expect([work.properties.messageId, fact.properties.messageId]).toEqual(['both', 'both']);
  });

  it('captures a job for a pool that has no queue', async () => {
    await bench.publisher.publish(job('nowhere', 'lost'));
    expect((await take(bench.inspect, 'unrouted')).properties.messageId).toBe('lost');
  });

  it('rejects what no queue takes as certainly not queued', async () => {
    await bench.inspect.assertExchange('lonely', 'fanout', { autoDelete: false });
    await expect(outcome(bench.publisher.publish({ ...job('x'), exchange: 'lonely' }))).resolves.toBe(
      'broker_unavailable',
    );
  });

  it('rejects as unknown when one queue refuses what another takes', async () => {
    const quorum = { 'x-queue-type': 'quorum' };
    const full = { ...quorum, 'x-max-length': 1, 'x-overflow': 'reject-publish' };
    await bench.inspect.assertExchange('forked', 'fanout');
    await bench.inspect.assertQueue('roomy', { arguments: quorum });
    await bench.inspect.assertQueue('full', { arguments: full });
    for (const queue of ['roomy', 'full']) await bench.inspect.bindQueue(queue, 'forked', '');
    const outcomes = new Set<string>();
    // n.b. the limit is soft: the broker refuses only once it has noticed.
    await until(async () => {
      outcomes.add(await outcome(bench.publisher.publish({ ...job('x'), exchange: 'forked' })));
      return outcomes.size === 2;
    });
    expect(outcomes).toEqual(new Set(['resolved', 'publish_unconfirmed']));
  });

  it('survives a publish to an exchange that does not exist', async () => {
    const pool = await bench.pool();
    await expect(outcome(bench.publisher.publish({ ...job(pool), exchange: 'missing' }))).resolves.toBe(
      'publish_unconfirmed',
    );
    await until(async () => (await outcome(bench.publisher.publish(job(pool)))) === 'resolved');
  });

  it('rejects what cannot be encoded and goes on', async () => {
    const pool = await bench.pool();
    const broken = { ...job(pool), type: 'x'.repeat(300) };
    await expect(bench.publisher.publish(broken)).rejects.toThrow();
    await expect(outcome(bench.publisher.publish(job(pool)))).resolves.toBe('resolved');
    expect(bench.publisher.inFlight).toBe(0);
  });

  it('takes no more than maxInFlight unanswered messages', async () => {
    const pool = await bench.pool();
    const connection = bench.keep(createBrokerConnection({ url: bench.url, name: 'small', logger }));
    await connection.start();
    const publisher = bench.keep(createPublisher({ connection, logger, deadlineMs: 5_000, maxInFlight: 3 }));
    await publisher.start();
    const outcomes = await Promise.all(Array.from({ length: 5 }, () => outcome(publisher.publish(job(pool)))));
    expect(outcomes.sort()).toEqual(['broker_unavailable', 'broker_unavailable', 'resolved', 'resolved', 'resolved']);
  });

  it('rejects at once when it was never connected, and after stop', async () => {
    const connection = bench.keep(createBrokerConnection({ url: bench.url, name: 'late', logger }));
    const publisher = bench.keep(createPublisher({ connection, logger, deadlineMs: 5_000 }));
    await expect(outcome(publisher.publish(job('x')))).resolves.toBe('broker_unavailable');
    await connection.start();
    await publisher.start();
    await publisher.stop();
    await expect(outcome(publisher.publish(job('x')))).resolves.toBe('broker_unavailable');
  });

  it('answers what was published before it stops', async () => {
    const pool = await bench.pool();
    const connection = bench.keep(createBrokerConnection({ url: bench.url, name: 'ending', logger }));
    await connection.start();
    const publisher = createPublisher({ connection, logger, deadlineMs: 5_000 });
    await publisher.start();
    const outcomes = Array.from({ length: 200 }, () => outcome(publisher.publish(job(pool))));
    await publisher.stop();
    expect(new Set(await Promise.all(outcomes))).toEqual(new Set(['resolved']));
  });

  it('says so when there is no broker, and when the address is not one', async () => {
    const options = { name: 'nobody', logger, startTimeoutMs: 200 };
    const connection = bench.keep(createBrokerConnection({ ...options, url: 'amqp://guest:guest@127.0.0.1:1' }));
    await expect(outcome(connection.start())).resolves.toBe('broker_unavailable');
    expect(connection.state).toBe('disconnected');
    expect(() => createBrokerConnection({ ...options, url: 'not a url' })).toThrow();
  });
});
