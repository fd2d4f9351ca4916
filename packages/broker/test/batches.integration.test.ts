import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { MAX_ATTEMPTS } from '@sluice/contracts';
import { ack, createBrokerConnection, dead, retry } from '../src/index.js';
import { job, logger, openBench, openWire, signal, take, until, type Bench } from './support.js';

describe('consuming in batches', () => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.release());
  afterAll(() => bench.close());

  const count = async (queue: string): Promise<number> => (await bench.inspect.checkQueue(queue)).messageCount;

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
});
