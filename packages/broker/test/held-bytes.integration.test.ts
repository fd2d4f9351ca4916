import { runInNewContext } from 'node:vm';
import { setFlagsFromString } from 'node:v8';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { ack, type AdjustableConsumer } from '../src/index.js';
import { job, openBench, until, type Bench } from './support.js';

const MEBIBYTE = 2 ** 20;
const MOST = 4;
const IDS = Array.from({ length: 60 }, (_, at) => `m${at}`);

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Bytes of buffers that are still held. */
async function heldBytes(): Promise<number> {
  for (let pass = 0; pass < 3; pass++) {
    collectGarbage();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return process.memoryUsage().arrayBuffers;
}

describe('a consumer of large messages', () => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.release());
  afterAll(() => bench.close());

  /** A queue of sixty messages of a mebibyte, consumed within four; each is done when it is let go. */
  async function createFixture() {
    const pool = await bench.pool();
    const queue = `work.${pool}.standard`;
    const body = Buffer.alloc(MEBIBYTE, 'x');
    await Promise.all(IDS.map((id) => bench.publisher.publish({ ...job(pool, id), body })));
    const held = new Map<string, () => void>();
    const done: string[] = [];
    const deliveries: number[] = [];
    const consume = (): Promise<AdjustableConsumer> =>
      bench.consumer(queue, {
        prefetch: IDS.length,
        maxBytes: MOST * MEBIBYTE,
        async handler({ messageId, headers }) {
          deliveries.push(Number(headers['x-delivery-count'] ?? 0));
          await new Promise<void>((resolve) => held.set(messageId, resolve));
          held.delete(messageId);
          done.push(messageId);
          return ack;
        },
      });
    const ready = async (): Promise<number> => (await bench.inspect.checkQueue(queue)).messageCount;
    return { held, done, deliveries, consume, ready };
  }

  it('holds no more of them than it may, and gets all of them done once', async () => {
    const { held, done, deliveries, consume, ready } = await createFixture();
    const before = await heldBytes();
    const consumer = await consume();
    await until(async () => (await ready()) === 0 && held.size >= MOST);
    // What the broker wrote before it answers this has arrived.
    await consumer.setPrefetch(IDS.length - 1);
    expect((await heldBytes()) - before).toBeLessThan((IDS.length / 2) * MEBIBYTE);
    while (done.length < IDS.length) {
      await until(() => held.size > 0);
      expect(consumer.inFlight).toBeLessThanOrEqual(MOST);
      held.values().next().value?.();
      await new Promise(setImmediate);
    }
    expect([...done].sort()).toEqual([...IDS].sort());
    await consumer.barrier();
    expect(await ready()).toBe(0);
    // Each comes again once, or another one that takes the room does.
    expect(Math.max(...deliveries)).toBeLessThanOrEqual(5);
  });

  it('leaves what it has no room for to others when it stops', async () => {
    const { held, done, consume, ready } = await createFixture();
    const consumer = await consume();
    await until(async () => (await ready()) === 0 && held.size === MOST);
    const stopped = consumer.stop();
    await until(async () => (await ready()) === IDS.length - MOST);
    for (const letGo of held.values()) letGo();
    await stopped;
    expect(done).toHaveLength(MOST);
    expect(await ready()).toBe(IDS.length - MOST);
  });

  it('shares them with another that is as full', async () => {
    const { held, done, deliveries, consume } = await createFixture();
    const consumers = [await consume(), await consume()];
    while (done.length < IDS.length) {
      await until(() => held.size > 0);
      for (const { inFlight } of consumers) expect(inFlight).toBeLessThanOrEqual(MOST);
      held.values().next().value?.();
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect([...done].sort()).toEqual([...IDS].sort());
    expect(Math.max(...deliveries)).toBeLessThanOrEqual(5);
  });
});
