import { connect } from 'amqplib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { DELIVERY_LIMIT, HEADERS, MAX_ATTEMPTS } from '@sluice/contracts';
import {
  ack,
  createBrokerConnection,
  createConsumer,
  createPublisher,
  dead,
  retry,
  USER_ID_HEADER,
  type Delivery,
} from '../src/index.js';
import { job, logger, openBench, QUICK_TIER, signal, take, until, type Bench } from './support.js';

describe('consuming', () => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.release());
  afterAll(() => bench.close());

  const count = async (queue: string): Promise<number> => (await bench.inspect.checkQueue(queue)).messageCount;

  it('hands a delivery over and acknowledges it', async () => {
    const pool = await bench.pool();
    const queue = `work.${pool}.standard`;
    const seen = signal<Delivery>();
    const consumer = await bench.consumer(queue, {
      prefetch: 10,
      handler: async (delivery) => {
        seen.resolve(delivery);
        return ack;
      },
    });
    await bench.publisher.publish(job(pool, 'm1'));
    await expect(seen.promise).resolves.toMatchObject({
      type: 'job.accepted.v1',
      messageId: 'm1',
      routingKey: `${pool}.standard`,
      exchange: 'jobs',
      queue,
      attempt: 1,
      redelivered: false,
    });
    expect(consumer.attached).toBe(true);
    await consumer.stop();
    expect(consumer).toMatchObject({ attached: false, inFlight: 0 });
    expect(await count(queue)).toBe(0);
  });

  it('runs at most prefetch handlers side by side', async () => {
    const pool = await bench.pool();
    const gate = signal();
    let most = 0;
    let running = 0;
    let done = 0;
    const consumer = await bench.consumer(`work.${pool}.standard`, {
      prefetch: 4,
      handler: async () => {
        most = Math.max(most, ++running);
        await gate.promise;
        running -= 1;
        done += 1;
        return ack;
      },
    });
    await Promise.all(Array.from({ length: 12 }, () => bench.publisher.publish(job(pool))));
    await until(() => consumer.inFlight === 4);
    gate.resolve();
    await until(() => done === 12);
    expect(most).toBe(4);
  });

  it('brings a retry back through its tier with the routing key kept and the next attempt', async () => {
    const pool = await bench.pool();
    const seen: Delivery[] = [];
    const done = signal();
    await bench.consumer(`work.${pool}.standard`, {
      prefetch: 1,
      handler: async (delivery) => {
        seen.push(delivery);
        if (seen.length < 3) return retry(1);
        done.resolve();
        return ack;
      },
    });
    await bench.publisher.publish({ ...job(pool, 'again'), headers: { traceparent: '00-1' } });
    await done.promise;
    expect(seen.map((one) => one.attempt)).toEqual([1, 2, 3]);
    expect(seen[2]).toMatchObject({
      routingKey: `${pool}.standard`,
      messageId: 'again',
      body: job(pool, 'again').body,
    });
    expect(seen[2]?.headers).toMatchObject({ traceparent: '00-1' });
  });

  it('brings a retry back without an end of its own, so that it may wait for a worker as long as it must', async () => {
    const pool = await bench.pool();
    await bench.publisher.publish({ ...job(pool, 'spread'), exchange: QUICK_TIER.name, expirationMs: 20 });
    const { properties } = await take(bench.inspect, `work.${pool}.standard`);
    expect(properties.messageId).toBe('spread');
    expect(properties.expiration).toBeUndefined();
  });

  it('moves a dead submission with its sender, whom the broker vouches for, and where the answer goes', async () => {
    const userId = decodeURIComponent(new URL(bench.url).username);
    const seen: Delivery[] = [];
    await bench.consumer('ingest', {
      prefetch: 1,
      handler: async (delivery) => {
        seen.push(delivery);
        return dead('invalid_request');
      },
    });
    bench.inspect.publish('ingest', 'any', Buffer.from('{}'), { userId, replyTo: 'answers', correlationId: 'c1' });
    const { properties } = await take(bench.inspect, 'dead');
    expect(seen[0]).toMatchObject({ userId, replyTo: 'answers', correlationId: 'c1' });
    expect(properties).toMatchObject({
      replyTo: 'answers',
      correlationId: 'c1',
      headers: { [USER_ID_HEADER]: userId },
    });
  });

  it('moves a dead message with its reason and where it was', async () => {
    const pool = await bench.pool();
    await bench.consumer(`work.${pool}.standard`, { prefetch: 1, handler: async () => dead('malformed_message') });
    await bench.publisher.publish(job(pool, 'bad'));
    const { properties, fields } = await take(bench.inspect, 'dead');
    expect(properties.messageId).toBe('bad');
    expect(fields.routingKey).toBe(`${pool}.standard`);
    expect(properties.headers).toEqual({
      [HEADERS.attempt]: 1,
      [HEADERS.reason]: 'malformed_message',
      [HEADERS.source]: `work.${pool}.standard`,
    });
  });

  it('retries a handler that throws until the attempts are used up', async () => {
    const pool = await bench.pool();
    const attempts: number[] = [];
    await bench.consumer(`work.${pool}.standard`, {
      prefetch: 1,
      handler: (delivery) => {
        attempts.push(delivery.attempt);
        throw new Error('a defect');
      },
    });
    await bench.publisher.publish(job(pool, 'defect'));
    const { properties } = await take(bench.inspect, 'dead');
    expect(properties.headers).toMatchObject({
      [HEADERS.reason]: 'attempts_exhausted',
      [HEADERS.attempt]: MAX_ATTEMPTS,
    });
    expect(attempts).toEqual([1, 2, 3, 4, 5]);
  });

  it('takes a message with malformed headers for a first attempt', async () => {
    const pool = await bench.pool();
    const seen = signal<Delivery>();
    await bench.consumer(`work.${pool}.standard`, {
      prefetch: 1,
      handler: async (delivery) => {
        seen.resolve(delivery);
        return ack;
      },
    });
    const headers = { [HEADERS.attempt]: { nested: true }, list: [1, 'two'], flag: true };
    bench.inspect.publish('jobs', `${pool}.standard`, Buffer.alloc(0), { headers });
    await expect(seen.promise).resolves.toMatchObject({ attempt: 1, type: '', messageId: '', body: Buffer.alloc(0) });
  });

  it('lets the broker move a message that ends its worker each time, with its reason', async () => {
    const pool = await bench.pool();
    await bench.publisher.publish(job(pool, 'poison'));
    let deliveries = 0;
    while ((await count('dead')) === 0) {
      const worker = await connect(bench.url);
      const channel = await worker.createChannel();
      const delivered = signal();
      await channel.consume(`work.${pool}.standard`, (message) => {
        if (message) deliveries += 1;
        delivered.resolve();
      });
      await Promise.race([delivered.promise, until(async () => (await count('dead')) > 0)]);
      await worker.close();
    }
    const { properties } = await take(bench.inspect, 'dead');
    expect(deliveries).toBe(DELIVERY_LIMIT + 1);
    expect(properties.messageId).toBe('poison');
    expect(properties.headers?.['x-death']?.[0]).toMatchObject({
      queue: `work.${pool}.standard`,
      reason: 'delivery_limit',
      'routing-keys': [`${pool}.standard`],
    });
  });

  it('keeps the original until the copy is confirmed, however long that takes', async () => {
    const pool = await bench.pool();
    const queue = `work.${pool}.standard`;
    const late = createBrokerConnection({ url: bench.url, name: 'late-publish', logger });
    const publisher = createPublisher({ connection: late, logger, deadlineMs: 5_000 });
    const options = { connection: bench.consuming, publisher, queue, prefetch: 1, logger };
    const consumer = bench.keep(createConsumer({ ...options, handler: async () => dead('late') }));
    await consumer.start();
    await bench.publisher.publish(job(pool, 'late'));
    await until(() => consumer.inFlight === 1);
    expect(await count('dead')).toBe(0);
    bench.keep(late);
    bench.keep(publisher);
    await late.start();
    await publisher.start();
    expect((await take(bench.inspect, 'dead')).properties.messageId).toBe('late');
    await consumer.stop();
    expect(await count(queue)).toBe(0);
  });

  it('leaves a message in its queue when it stops before the copy could be published', async () => {
    const pool = await bench.pool();
    const queue = `work.${pool}.standard`;
    const never = createPublisher({ connection: bench.consuming, logger, deadlineMs: 5_000 });
    const options = { connection: bench.consuming, publisher: never, queue, prefetch: 1, logger };
    const consumer = bench.keep(createConsumer({ ...options, handler: async () => retry(1) }));
    await consumer.start();
    await bench.publisher.publish(job(pool));
    await until(() => consumer.inFlight === 1);
    await consumer.stop();
    await until(async () => (await count(queue)) === 1);
  });

  it('stops after the work in hand, and leaves what it had only fetched in the queue', async () => {
    const pool = await bench.pool();
    const queue = `work.${pool}.standard`;
    const gate = signal();
    const started: string[] = [];
    await Promise.all(Array.from({ length: 10 }, (_, index) => bench.publisher.publish(job(pool, String(index)))));
    const consumer = await bench.batchConsumer(queue, {
      prefetch: 10,
      maxBatch: 3,
      lingerMs: 1_000,
      handler: async (deliveries) => {
        started.push(...deliveries.map((one) => one.messageId));
        await gate.promise;
        return deliveries.map(() => ack);
      },
    });
    await until(() => consumer.inFlight === 3);
    let stopped = false;
    const stopping = consumer.stop().then(() => (stopped = true));
    await until(async () => (await count(queue)) === 7);
    expect(stopped).toBe(false);
    gate.resolve();
    await stopping;
    expect(started).toEqual(['0', '1', '2']);
    expect(await count(queue)).toBe(7);
    expect((await take(bench.inspect, queue)).properties.messageId).toBe('3');
  });

  it('can be started and stopped in any order, again and again', async () => {
    const pool = await bench.pool();
    const queue = `work.${pool}.standard`;
    let handled = 0;
    for (let round = 0; round < 30; round++) {
      const connection = createBrokerConnection({ url: bench.url, name: 'stress', logger });
      const publisher = createPublisher({ connection, logger, deadlineMs: 1_000 });
      const handler = async (): Promise<typeof ack> => {
        handled += 1;
        return ack;
      };
      const consumer = createConsumer({ connection, publisher, queue, prefetch: 5, handler, logger });
      const parts = [connection, publisher, consumer];
      const starts = parts.map((part) => part.start().catch(() => undefined));
      if (round % 3 === 0) await starts[0];
      if (round % 3 === 1) await Promise.all(starts);
      await bench.publisher.publish(job(pool));
      await Promise.all([...parts.reverse(), ...parts].map((part) => part.stop()));
      await Promise.all(starts);
    }
    await bench.consumer(queue, {
      prefetch: 50,
      handler: async () => {
        handled += 1;
        return ack;
      },
    });
    await until(() => handled >= 30);
    expect((await bench.inspect.checkQueue(queue)).consumerCount).toBe(1);
  });
});
