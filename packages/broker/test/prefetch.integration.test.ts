import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { ack, createBrokerConnection, type AdjustableConsumer, type Delivery } from '../src/index.js';
import { job, logger, openBench, openWire, signal, until, type Bench, type Wire } from './support.js';

describe('a consumer whose prefetch changes', () => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.release());
  afterAll(() => bench.close());

  const count = async (queue: string): Promise<number> => (await bench.inspect.checkQueue(queue)).messageCount;
  const publish = (pool: string, ids: readonly string[]) =>
    Promise.all(ids.map((id) => bench.publisher.publish(job(pool, id))));
  const idsTo = (most: number): string[] => Array.from({ length: most }, (_, at) => `m${at}`);

  it('holds no more than the latest once what it held before is settled', async () => {
    const pool = await bench.pool();
    const queue = `work.${pool}.standard`;
    const held: (() => void)[] = [];
    const consumer = await bench.consumer(queue, {
      prefetch: 8,
      handler: async () => {
        await new Promise<void>((resolve) => held.push(resolve));
        return ack;
      },
    });
    const letGo = (): void => held.splice(0).forEach((resolve) => resolve());
    await publish(pool, idsTo(80));
    await until(() => held.length === 8);
    for (const prefetch of [2, 5, 1, 8]) {
      await consumer.setPrefetch(prefetch);
      letGo();
      await until(() => held.length === prefetch);
      // Others would have come by the time of a round trip.
      expect(await count(queue)).toBeGreaterThan(0);
      expect([held.length, consumer.inFlight]).toEqual([prefetch, prefetch]);
    }
    await until(async () => {
      letGo();
      return consumer.inFlight === 0 && (await count(queue)) === 0;
    });
  });

  it('keeps to the bounds that it was made with', async () => {
    const pool = await bench.pool();
    const gate = signal();
    const consumer = await bench.consumer(`work.${pool}.standard`, {
      prefetch: 3,
      handler: async () => {
        await gate.promise;
        return ack;
      },
    });
    await consumer.setPrefetch(100);
    await publish(pool, idsTo(6));
    await until(() => consumer.inFlight === 3);
    expect(await count(`work.${pool}.standard`)).toBe(3);
    gate.resolve();
  });

  it('hands every delivery over once, however often it changes', async () => {
    const pool = await bench.pool();
    const seen: Delivery[] = [];
    const consumer = await bench.consumer(`work.${pool}.standard`, {
      prefetch: 64,
      handler: async (delivery) => {
        seen.push(delivery);
        await new Promise(setImmediate);
        return ack;
      },
    });
    const ids = idsTo(1_000);
    const published = publish(pool, ids);
    for (let change = 0; seen.length < ids.length; change++) {
      await consumer.setPrefetch([1, 64, 4, 32, 2][change % 5] ?? 1);
      if (change % 7 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await published;
    expect(seen.map(({ messageId }) => messageId).sort()).toEqual([...ids].sort());
    await consumer.barrier();
    expect(consumer.settled).toBe(ids.length);
    await consumer.stop();
    expect(await count(`work.${pool}.standard`)).toBe(0);
  });

  it('loses nothing when it stops in the midst of a change', async () => {
    const pool = await bench.pool();
    const ids = idsTo(200);
    const seen = new Set<string>();
    const consume = (): Promise<AdjustableConsumer> =>
      bench.consumer(`work.${pool}.standard`, {
        prefetch: 20,
        handler: async ({ messageId }) => {
          expect(seen.has(messageId)).toBe(false);
          seen.add(messageId);
          return ack;
        },
      });
    await publish(pool, ids);
    for (let round = 0; round < 5; round++) {
      const consumer = await consume();
      const changed = consumer.setPrefetch(2);
      await consumer.stop();
      await changed;
      expect(consumer).toMatchObject({ attached: false, inFlight: 0 });
    }
    await consume();
    await until(() => seen.size === ids.length);
  });

  describe('on a wire that is cut', () => {
    let wire: Wire;
    beforeAll(async () => {
      wire = await openWire(bench.url);
    });
    afterAll(() => wire.close());

    it('loses nothing, and begins again with the latest', async () => {
      const pool = await bench.pool();
      const queue = `work.${pool}.standard`;
      const connection = bench.keep(createBrokerConnection({ url: wire.url, name: 'cut', logger }));
      await connection.start();
      const ids = idsTo(600);
      const seen = new Map<string, number>();
      let gate: Promise<void> | undefined;
      const consumer = await bench.consumer(queue, {
        connection,
        prefetch: 32,
        handler: async ({ messageId, redelivered }) => {
          // n.b. twice only what was in hand when the wire was cut.
          if (seen.has(messageId)) expect(redelivered).toBe(true);
          seen.set(messageId, (seen.get(messageId) ?? 0) + 1);
          await (gate ?? new Promise((resolve) => setTimeout(resolve, 2)));
          return ack;
        },
      });
      await publish(pool, ids.slice(0, 500));
      for (const [cut, prefetch] of [1, 30, 3, 16, 2].entries()) {
        await until(() => seen.size >= Math.min(500, (cut + 1) * 60));
        const changed = consumer.setPrefetch(prefetch);
        if (cut % 2 === 0) await changed;
        wire.cut();
        await changed;
      }
      await until(async () => seen.size === 500 && (await count(queue)) === 0);
      await until(() => consumer.attached && consumer.inFlight === 0);
      const held = signal();
      gate = held.promise;
      await publish(pool, ids.slice(500));
      await until(() => consumer.inFlight === 2);
      expect(await count(queue)).toBe(98);
      gate = undefined;
      held.resolve();
      await until(() => seen.size === ids.length);
    });
  });
});
