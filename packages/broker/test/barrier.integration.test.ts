import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { ack, createBrokerConnection, retry, type Consumer } from '../src/index.js';
import { job, logger, openBench, openWire, outcome, signal, until, type Bench } from './support.js';

describe("a consumer's barrier", () => {
  let bench: Bench;
  let settled: string[];
  beforeAll(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.release());
  afterAll(() => bench.close());

  /** A consumer that settles each delivery when `release` says so. */
  async function held(prefetch = 10): Promise<{ pool: string; consumer: Consumer; release: () => void }> {
    const pool = await bench.pool();
    const gate = signal();
    settled = [];
    const consumer = await bench.consumer(`work.${pool}.standard`, {
      prefetch,
      async handler({ messageId }) {
        await gate.promise;
        settled.push(messageId);
        return ack;
      },
    });
    return { pool, consumer, release: gate.resolve };
  }

  it('resolves when everything delivered before is settled, and not sooner', async () => {
    const { pool, consumer, release } = await held();
    for (let i = 0; i < 5; i++) await bench.publisher.publish(job(pool));
    const barrier = consumer.barrier().then(() => settled.length);
    await until(() => consumer.inFlight === 5);
    expect(settled).toEqual([]);
    release();
    expect(await barrier).toBe(5);
    await consumer.stop();
    expect((await bench.inspect.checkQueue(`work.${pool}.standard`)).messageCount).toBe(0);
  });

  it('brings what was on its way: no delivery of a confirmed message comes later than the barrier', async () => {
    const { pool, consumer, release } = await held(1_000);
    release();
    for (let round = 0; round < 20; round++) {
      await Promise.all(Array.from({ length: 20 }, (_, i) => bench.publisher.publish(job(pool, `${round}-${i}`))));
      await consumer.barrier();
      expect(settled).toHaveLength((round + 1) * 20);
    }
  });

  it('does not wait for what the prefetch keeps in the queue', async () => {
    const { pool, consumer, release } = await held(1);
    for (const id of ['first', 'second']) await bench.publisher.publish(job(pool, id));
    await until(() => consumer.inFlight === 1);
    const barrier = consumer.barrier().then(() => settled[0]);
    release();
    expect(await barrier).toBe('first');
  });

  it('resolves at once when nothing is open, however many ask', async () => {
    const { consumer } = await held();
    await Promise.all(Array.from({ length: 100 }, () => consumer.barrier()));
  });

  it('waits for a delivery that is tried again in place', async () => {
    let tries = 0;
    const pool = await bench.pool();
    const consumer = await bench.consumer(`work.${pool}.standard`, {
      prefetch: 1,
      retries: 'in-place',
      handler: async () => (++tries < 3 ? retry(1) : ack),
    });
    await bench.publisher.publish(job(pool));
    await consumer.barrier();
    expect(tries).toBe(3);
  });

  it('waits for a batch', async () => {
    const pool = await bench.pool();
    let batches = 0;
    const consumer = await bench.batchConsumer(`work.${pool}.standard`, {
      prefetch: 10,
      maxBatch: 4,
      lingerMs: 20,
      async handler(deliveries) {
        batches += 1;
        return deliveries.map(() => ack);
      },
    });
    for (let i = 0; i < 6; i++) await bench.publisher.publish(job(pool));
    await consumer.barrier();
    expect(batches).toBeGreaterThanOrEqual(2);
    expect(consumer.inFlight).toBe(0);
  });

  it('rejects when the channel is lost meanwhile, and the generation has grown', async () => {
    const wire = await openWire(bench.url);
    const connection = bench.keep(createBrokerConnection({ url: wire.url, name: 'cut', logger }));
    await connection.start();
    const pool = await bench.pool();
    const handed = signal();
    const consumer = await bench.consumer(`work.${pool}.standard`, {
      connection,
      prefetch: 1,
      async handler(_, lost) {
        handed.resolve();
        await new Promise((resolve) => lost.addEventListener('abort', resolve, { once: true }));
        return ack;
      },
    });
    const { generation } = consumer;
    await bench.publisher.publish(job(pool));
    await handed.promise;
    const barrier = outcome(consumer.barrier());
    wire.cut();
    expect(await barrier).toBe('broker_unavailable');
    expect(consumer.generation).toBeGreaterThan(generation);
    await bench.release();
    await wire.close();
  });

  it('rejects without a channel, and stopping gives back under a new generation', async () => {
    const { pool, consumer, release } = await held(2);
    const { generation } = consumer;
    await bench.publisher.publish(job(pool));
    await until(() => consumer.inFlight === 1);
    release();
    await consumer.stop();
    expect(consumer.generation).toBeGreaterThan(generation);
    expect(await outcome(consumer.barrier())).toBe('broker_unavailable');
  });
});
