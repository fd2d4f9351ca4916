import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Channel } from 'amqplib';
import { createFenceMember, type BrokerConnection, type Fence } from '../src/index.js';
import { fact, openFenceFixture, type FenceFixture } from './fence-fixture.js';
import { logger, openBench, openWire, outcome, signal, until, type Bench } from './support.js';

describe('a fence', () => {
  let bench: Bench;
  let fixture: FenceFixture;
  beforeAll(async () => {
    bench = await openBench();
  });
  beforeEach(async () => {
    await bench.inspect.purgeQueue('results');
    fixture = openFenceFixture(bench);
  });
  afterEach(() => bench.release());
  afterAll(() => bench.close());

  /** Passes and notes it; tests look at the notes before they let it pass. */
  function passing(fence: Fence): { done: Promise<void>; passed: () => boolean } {
    let passed = false;
    const done = fence.pass().then(() => void (passed = true));
    done.catch(() => undefined);
    return { done, passed: () => passed };
  }

  /** Some round trips with the broker: time for a wrong answer to arrive. */
  async function roundTrips(): Promise<void> {
    for (let i = 0; i < 50; i++) await bench.inspect.checkQueue('results');
  }

  it('has passed when everything that two gateways published before is recorded by two collectors', async () => {
    const [even, odd] = [await fixture.gateway(), await fixture.gateway()];
    for (const prefetch of [1, 10]) await fixture.collector({ prefetch });
    const fence = await fixture.fence();
    for (let round = 0; round < 10; round++) {
      const ids = Array.from({ length: 40 }, () => randomUUID());
      const admissions = ids.map((id, index) => (index % 2 === 0 ? even : odd).admit(id));
      await fence.pass();
      expect(ids.filter((id) => !fixture.recorded.has(id))).toEqual([]);
      await Promise.all(admissions);
    }
  });

  it('does not end while traffic goes on, but passes', async () => {
    const gateway = await fixture.gateway();
    await fixture.collector();
    await fixture.collector();
    const [one, other] = [await fixture.fence(), await fixture.fence()];
    let publishing = true;
    const traffic = Array.from({ length: 4 }, async () => {
      while (publishing) await gateway.admit();
    });
    for (let round = 0; round < 5; round++) await Promise.all([one.pass(), other.pass()]);
    publishing = false;
    await Promise.all(traffic);
  });

  it('passes with nobody to ask and nothing queued, and waits for a collector otherwise', async () => {
    const fence = await fixture.fence();
    await fence.pass();
    const gateway = await fixture.gateway();
    const id = await gateway.admit();
    const { done, passed } = passing(fence);
    await until(() => fixture.registry.reads > 3);
    expect(passed()).toBe(false);
    await fixture.collector();
    await done;
    expect(fixture.recorded.has(id)).toBe(true);
  });

  it('does not pass while a gateway has admissions in flight', async () => {
    const [asked, over] = [signal(), signal()];
    await fixture.collector();
    await fixture.gateway();
    const gateway = await fixture.gateway({
      async onDrain() {
        asked.resolve();
        await over.promise;
      },
    });
    const { done, passed } = passing(await fixture.fence());
    await asked.promise;
    await roundTrips();
    expect(passed()).toBe(false);
    const id = await gateway.admit();
    over.resolve();
    await done;
    expect(fixture.recorded.has(id)).toBe(true);
  });

  it('does not pass while a collector holds what it has not settled', async () => {
    const [asked, over] = [signal(), signal()];
    const gateway = await fixture.gateway();
    await fixture.collector({ before: () => over.promise, onPass: () => asked.resolve() });
    const id = await gateway.admit();
    const { done, passed } = passing(await fixture.fence());
    await asked.promise;
    await roundTrips();
    expect(passed()).toBe(false);
    over.resolve();
    await done;
    expect(fixture.recorded.has(id)).toBe(true);
  });

  it('waits for a collector whose prefetch is full, though another one takes every marker', async () => {
    const over = signal();
    const gateway = await fixture.gateway();
    const slow = await fixture.collector({ prefetch: 1, before: () => over.promise });
    const id = await gateway.admit();
    await until(() => slow.consumer.inFlight === 1);
    const quick = await fixture.collector();
    const progressMs = quick.consumer.lastProgressAtMs;
    const { done, passed } = passing(await fixture.fence());
    await until(() => quick.consumer.lastProgressAtMs > progressMs);
    await roundTrips();
    expect(passed()).toBe(false);
    over.resolve();
    await done;
    expect(fixture.recorded.has(id)).toBe(true);
  });

  it('begins again when a collector goes that could take no marker, though another one takes every marker', async () => {
    const wire = await openWire(bench.url);
    const gateway = await fixture.gateway();
    const before = (_: unknown, lost: AbortSignal): Promise<void> =>
      new Promise((resolve) => lost.addEventListener('abort', () => resolve(), { once: true }));
    const slow = await fixture.collector({ url: wire.url, prefetch: 1, before });
    const id = await gateway.admit();
    await until(() => slow.consumer.inFlight === 1);
    const quick = await fixture.collector();
    const progressMs = quick.consumer.lastProgressAtMs;
    const { done } = passing(await fixture.fence());
    await until(() => quick.consumer.lastProgressAtMs > progressMs);
    wire.cut();
    await Promise.all([slow.consumer.stop(), slow.member.stop(), slow.connection.stop()]);
    await done;
    expect(fixture.recorded.has(id)).toBe(true);
    await bench.release();
    await wire.close();
  });

  it.each(['channel', 'connection'])(
    'begins again when a collector loses its %s before it has settled',
    async (what) => {
      const [asked, again] = [signal(), signal()];
      const wire = await openWire(bench.url);
      const deliveries: boolean[] = [];
      const gateway = await fixture.gateway();
      const collector = await fixture.collector({
        url: wire.url,
        onPass: () => asked.resolve(),
        async before({ redelivered }, lost) {
          deliveries.push(redelivered);
          if (redelivered) await again.promise;
          else await new Promise((resolve) => lost.addEventListener('abort', resolve, { once: true }));
        },
      });
      const id = await gateway.admit();
      await until(() => deliveries.length === 1);
      const { done, passed } = passing(await fixture.fence());
      await asked.promise;
      if (what === 'connection') wire.cut();
      else await loseChannel(collector.connection);
      await until(() => deliveries.length === 2);
      await roundTrips();
      expect(passed()).toBe(false);
      again.resolve();
      await done;
      expect(deliveries).toEqual([false, true]);
      expect(fixture.recorded.has(id)).toBe(true);
      await bench.release();
      await wire.close();
    },
  );

  it('begins again when a collector gives back what it held after it had its marker', async () => {
    const gateway = await fixture.gateway();
    const { consumer } = await fixture.collector({ before: () => Promise.reject(new Error('cannot record')) });
    const id = await gateway.admit();
    await until(() => consumer.inFlight === 1);
    const { done, passed } = passing(await fixture.fence());
    fixture.registry.onRead = async (reads) => {
      if (reads === 1) await consumer.stop();
    };
    await until(() => fixture.registry.reads > 3);
    expect(passed()).toBe(false);
    await fixture.collector();
    await done;
    expect(fixture.recorded.has(id)).toBe(true);
  });

  it('begins again when a collector comes that may have taken what the others were asked about', async () => {
    const over = signal();
    const gateway = await fixture.gateway();
    const known = await fixture.collector();
    const { done, passed } = passing(await fixture.fence());
    let id = '';
    fixture.registry.onRead = async (reads) => {
      if (reads !== 1) return;
      const come = await fixture.collector({ before: () => over.promise });
      while (come.consumer.inFlight === 0) id = await gateway.admit();
    };
    await until(() => fixture.registry.reads > 2);
    await roundTrips();
    expect(passed()).toBe(false);
    over.resolve();
    await done;
    expect(fixture.recorded.has(id)).toBe(true);
    expect(known.consumer.inFlight).toBe(0);
  });

  it('treats members whose connection has ended as gone, and takes what a collector held for unrecorded', async () => {
    const wire = await openWire(bench.url);
    const held = signal();
    const gateway = await fixture.gateway();
    await fixture.gateway({ url: wire.url });
    await fixture.collector({
      url: wire.url,
      async before(_, lost) {
        held.resolve();
        await new Promise((resolve) => lost.addEventListener('abort', resolve, { once: true }));
      },
    });
    const id = await gateway.admit();
    await held.promise;
    await fixture.collector();
    await wire.close();
    const fence = await fixture.fence();
    await fence.pass();
    expect(fixture.recorded.has(id)).toBe(true);
    expect(fixture.registry.rows.size).toBe(4);
  });

  it('gives up when a member is silent, ignores its late answer, and passes when it answers', async () => {
    let over = signal();
    await fixture.collector();
    await fixture.gateway({ onDrain: () => over.promise });
    const fence = await fixture.fence(700);
    expect(await outcome(fence.pass())).toBe('quota_unavailable');
    over.resolve();
    await fence.pass();
    over = signal();
    expect(await outcome(fence.pass())).toBe('quota_unavailable');
    over.resolve();
  });

  it('does not pass while somebody consumes results who cannot be asked', async () => {
    await fixture.collector();
    const { consumerTag } = await bench.inspect.consume('results', () => undefined);
    const { done, passed } = passing(await fixture.fence());
    await until(() => fixture.registry.reads > 3);
    expect(passed()).toBe(false);
    await bench.inspect.cancel(consumerTag);
    await done;
  });

  it('is shared by the calls that come while another one is under way', async () => {
    const over = signal();
    let drains = 0;
    await fixture.collector();
    await fixture.gateway({
      async onDrain() {
        drains += 1;
        await over.promise;
      },
    });
    const fence = await fixture.fence();
    const first = fence.pass();
    await until(() => drains === 1);
    const others = [fence.pass(), fence.pass(), fence.pass()];
    over.resolve();
    await Promise.all([first, ...others]);
    expect(drains).toBe(2);
  });

  it('passes once the registry is back', async () => {
    await fixture.collector();
    const fence = await fixture.fence();
    fixture.registry.away = true;
    const { done, passed } = passing(fence);
    await until(() => fixture.registry.reads > 2);
    expect(passed()).toBe(false);
    fixture.registry.away = false;
    await done;
  });

  it('forgets members that ended long ago, and no others', async () => {
    const fence = await fixture.fence();
    const [old, recent] = [randomUUID(), randomUUID()];
    const gone = (memberId: string, hoursAgo: number): void =>
      void fixture.registry.rows.set(memberId, {
        memberId,
        role: 'collector',
        queue: `fence.${memberId}`,
        seenAtMs: Date.now() - hoursAgo * 3_600_000,
      });
    gone(old, 25);
    gone(recent, 23);
    await fence.pass();
    // By the registry's own clock they were there within two hours; what this machine shows does not count.
    expect([...fixture.registry.rows.keys()]).toEqual([old, recent]);
    await fixture.collector();
    await fence.pass();
    await until(() => !fixture.registry.rows.has(old));
    expect(fixture.registry.rows.has(recent)).toBe(true);
  });

  it('ignores what is no question and no answer', async () => {
    const { member } = await fixture.gateway();
    await fixture.collector();
    const fence = await fixture.fence();
    const gateway = [...fixture.registry.rows.values()].find(({ role }) => role === 'gateway');
    for (const text of ['', 'null', '{"id":1}', '{"id":"a","kind":"explode","replyTo":"b"}', '[]'])
      bench.inspect.sendToQueue(gateway?.queue ?? '', Buffer.from(text), { type: 'fence.question.v1' });
    bench.inspect.sendToQueue(gateway?.queue ?? '', Buffer.from('{"id":"a","kind":"state","replyTo":"b"}'));
    await fence.pass();
    expect(member.ready).toBe(true);
  });

  it('is not waited for once it is stopped, and refuses to pass', async () => {
    const [asked, over] = [signal(), signal()];
    await fixture.gateway({
      async onDrain() {
        asked.resolve();
        await over.promise;
      },
    });
    const fence = await fixture.fence();
    const ended = outcome(fence.pass());
    await asked.promise;
    await fence.stop();
    expect(await ended).toBe('quota_unavailable');
    expect(await outcome(fence.pass())).toBe('quota_unavailable');
    over.resolve();
  });

  it('starts and stops over and over while members come and go', async () => {
    const gateway = await fixture.gateway();
    for (let round = 0; round < 5; round++) {
      const fence = await fixture.fence();
      const { member, consumer } = await fixture.collector();
      const passed = outcome(fence.pass());
      await gateway.admit();
      if (round % 2 === 0) expect(await passed).toBe('resolved');
      await consumer.stop();
      await Promise.all([member.stop(), fence.stop()]);
      await passed;
    }
    await fixture.collector();
    await (await fixture.fence()).pass();
  });

  it('is exact whatever is cut when: what is not recorded when it has passed never will be', async () => {
    const wires = await Promise.all(Array.from({ length: 4 }, () => openWire(bench.url)));
    const [one, other, ...rest] = wires.map(({ url }) => url);
    const gateways = [await fixture.gateway({ url: one ?? '' }), await fixture.gateway({ url: other ?? '' })];
    for (const url of rest)
      await fixture.collector({ url, before: () => new Promise((resolve) => setTimeout(resolve, 2)) });
    const begun: string[] = [];
    let admitting = true;
    const lanes = gateways.map(async (gateway) => {
      while (admitting) {
        await Promise.all(
          Array.from({ length: 5 }, async () => {
            const id = randomUUID();
            const admission = gateway.admit(id);
            if (gateway.member.ready) begun.push(id);
            await admission.catch(() => undefined);
          }),
        );
        await new Promise((resolve) => setTimeout(resolve, 5)); // bounds the number of refusals while it is away
      }
    });
    const fence = await fixture.fence();
    const missing = new Set<string>();
    for (let round = 0; round < 8; round++) {
      await until(() => gateways.every(({ member }) => member.ready));
      const before = [...begun];
      const passed = fence.pass();
      wires[round % wires.length]?.cut();
      await passed;
      for (const id of before) if (!fixture.recorded.has(id)) missing.add(id);
    }
    admitting = false;
    await Promise.all(lanes);
    await fence.pass();
    expect([...missing].filter((id) => fixture.recorded.has(id))).toEqual([]);
    expect(fixture.recorded.size).toBeGreaterThan(50);
    await bench.release();
    for (const wire of wires) await wire.close();
  });

  describe('member', () => {
    it('is ready when it can be asked and is registered, and says so', async () => {
      fixture.registry.away = true;
      const options = { memberId: randomUUID(), role: 'gateway', registry: fixture.registry, logger } as const;
      const member = createFenceMember({ ...options, connection: bench.consuming, publisher: bench.publisher });
      await member.start();
      expect(member.ready).toBe(false);
      fixture.registry.away = false;
      await member.whenReady();
      expect(member.ready).toBe(true);
      await member.stop();
      expect(member.ready).toBe(false);
      expect(fixture.registry.rows.size).toBe(0);
    });

    it('is not ready without its connection, and registers again on the next', async () => {
      const wire = await openWire(bench.url);
      const { member, connection } = await fixture.gateway({ url: wire.url });
      const [row] = fixture.registry.rows.values();
      fixture.registry.rows.clear();
      wire.cut();
      await until(() => !member.ready);
      await until(() => member.ready && fixture.registry.rows.size === 1);
      expect([...fixture.registry.rows.values()][0]?.queue).toBe(row?.queue);
      expect(connection.generation).toBeGreaterThan(1);
      await bench.release();
      await wire.close();
    });

    it('that collects stays in the registry when it stops, and its queue is gone', async () => {
      const { member, consumer } = await fixture.collector();
      await consumer.stop();
      await member.stop();
      const [row] = fixture.registry.rows.values();
      expect(row?.role).toBe('collector');
      const sent = bench.publisher.publish({ ...fact(), exchange: '', routingKey: row?.queue ?? '' });
      expect(await outcome(sent)).toBe('broker_unavailable');
    });

    it('that is stopped before it was ready says so to those who wait', async () => {
      fixture.registry.away = true;
      const options = { memberId: randomUUID(), role: 'gateway', registry: fixture.registry, logger } as const;
      const member = createFenceMember({ ...options, connection: bench.consuming, publisher: bench.publisher });
      const ready = outcome(member.whenReady());
      await member.stop();
      expect(await ready).toBe('broker_unavailable');
    });
  });

  /** Makes the broker close the channel that was opened last on a connection: a collector's consumer. */
  async function loseChannel(connection: BrokerConnection): Promise<void> {
    const model = await connection.open(new AbortController().signal);
    // n.b. amqplib keeps no public list of channels.
    const { channels } = model.connection as unknown as { channels: readonly ({ channel: Channel } | null)[] };
    const last = channels.filter((slot) => slot !== null).at(-1)?.channel;
    last?.ack({ fields: { deliveryTag: 4_711 } } as Parameters<Channel['ack']>[0]); // 406 unknown delivery tag
  }
});
