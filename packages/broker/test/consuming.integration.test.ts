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
  type Delivery,
} from '../src/index.js';
import { job, logger, openBench, openWire, take, until, type Bench } from './support.js';

/** A promise with its resolver. */
function signal<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}

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

  it('collects batches, the last one by time', async () => {
    const pool = await bench.pool();
    const sizes: number[] = [];
    let total = 0;
    await Promise.all(Array.from({ length: 25 }, () => bench.publisher.publish(job(pool))));
    const consumer = await bench.batchConsumer(`work.${pool}.standard`, {
      prefetch: 100,
      maxBatch: 10,
      lingerMs: 200,
      handler: async (deliveries) => {
        sizes.push(deliveries.length);
        total += deliveries.length;
        return deliveries.map(() => ack);
      },
    });
    await until(() => total === 25);
    expect(sizes).toEqual([10, 10, 5]);
    await consumer.stop();
    expect(await count(`work.${pool}.standard`)).toBe(0);
  });

  it('settles each delivery of a batch by itself', async () => {
    const pool = await bench.pool();
    const queue = `work.${pool}.standard`;
    const attempts = new Map<string, number[]>();
    const ids = ['a', 'b', 'c', 'd', 'e', 'f'];
    for (const id of ids) await bench.publisher.publish(job(pool, id));
    const consumer = await bench.batchConsumer(queue, {
      prefetch: 6,
      maxBatch: 6,
      lingerMs: 50,
      handler: async (deliveries) =>
        deliveries.map(({ messageId, attempt }) => {
          attempts.set(messageId, [...(attempts.get(messageId) ?? []), attempt]);
          if (messageId === 'b' && attempt === 1) return retry(1);
          return messageId === 'e' ? dead('e') : ack;
        }),
    });
    expect((await take(bench.inspect, 'dead')).properties.messageId).toBe('e');
    await until(() => attempts.get('b')?.length === 2);
    await consumer.stop();
    expect(Object.fromEntries(attempts)).toEqual({ a: [1], b: [1, 2], c: [1], d: [1], e: [1], f: [1] });
    expect(await count(queue)).toBe(0);
  });

  it('works on several batches side by side, and the ack of a later one does not speak for an earlier one', async () => {
    const pool = await bench.pool();
    const wire = await openWire(bench.url);
    const connection = bench.keep(createBrokerConnection({ url: wire.url, name: 'cut', logger }));
    await connection.start();
    const gates = [signal(), signal(), signal()];
    const batches: string[][] = [];
    const ids = Array.from({ length: 30 }, (_, index) => String(index));
    await Promise.all(ids.map((id) => bench.publisher.publish(job(pool, id))));
    const consumer = await bench.batchConsumer(`work.${pool}.standard`, {
      connection,
      prefetch: 30,
      maxBatch: 10,
      lingerMs: 1_000,
      concurrency: 3,
      handler: async (deliveries) => {
        const gate = gates[batches.push(deliveries.map((one) => one.messageId)) - 1];
        await gate?.promise;
        return deliveries.map(() => ack);
      },
    });
    await until(() => batches.length === 3);
    gates[2]?.resolve();
    await until(() => consumer.inFlight === 20);
    // Once the broker answers what was sent after the acks, it has read them.
    await (await connection.open(new AbortController().signal)).createChannel();
    wire.cut();
    gates[0]?.resolve();
    gates[1]?.resolve();
    await until(() => batches.length >= 5 && consumer.inFlight === 0);
    const again = batches
      .slice(3)
      .flat()
      .sort((one, other) => Number(one) - Number(other));
    expect(again).toEqual(ids.slice(0, 20));
    await bench.release();
    await wire.close();
  });

  it('treats a wrong number of settlements as a failure of all', async () => {
    const pool = await bench.pool();
    const attempts: number[] = [];
    await bench.publisher.publish(job(pool));
    await bench.batchConsumer(`work.${pool}.standard`, {
      prefetch: 10,
      maxBatch: 10,
      lingerMs: 1,
      handler: async (deliveries) => {
        attempts.push(...deliveries.map((one) => one.attempt));
        return attempts.length === 1 ? [] : deliveries.map(() => ack);
      },
    });
    await until(() => attempts.length === 2);
    expect(attempts).toEqual([1, 2]);
  });

  it('tries a fact again in place, beyond any number of attempts, and never sends it to a worker', async () => {
    const pool = await bench.pool();
    const rounds: string[][] = [];
    const done = signal();
    const consumer = await bench.batchConsumer('results', {
      prefetch: 10,
      maxBatch: 2,
      lingerMs: 1_000,
      handler: async (deliveries) => {
        rounds.push(deliveries.map((one) => one.messageId));
        if (rounds.length === 1) throw new Error('the database is away');
        if (rounds.length > MAX_ATTEMPTS + 2) done.resolve();
        const again = rounds.length <= MAX_ATTEMPTS + 2;
        return deliveries.map(({ messageId }) => (messageId === 'f2' && again ? retry(1) : ack));
      },
    });
    for (const id of ['f1', 'f2']) await bench.publisher.publish({ ...job(pool, id), exchange: 'results' });
    await done.promise;
    await consumer.stop();
    expect(rounds.slice(0, 3)).toEqual([['f1', 'f2'], ['f1', 'f2'], ['f2']]);
    for (const queue of ['results', 'unrouted', 'dead', `work.${pool}.standard`]) expect(await count(queue)).toBe(0);
  });

  it('gives facts back when it stops while the database is away', async () => {
    const failed = signal();
    const consumer = await bench.batchConsumer('results', {
      prefetch: 10,
      maxBatch: 5,
      lingerMs: 1,
      handler: async () => {
        failed.resolve();
        throw new Error('the database is away');
      },
    });
    await bench.publisher.publish({ ...job('x', 'kept'), exchange: 'results' });
    await failed.promise;
    await consumer.stop();
    expect((await take(bench.inspect, 'results')).properties.messageId).toBe('kept');
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
