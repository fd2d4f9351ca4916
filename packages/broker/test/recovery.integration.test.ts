import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { Channel } from 'amqplib';
import { testServices } from '@sluice/local-services';
import { ack, createBrokerConnection, createPublisher, type Consumer, type Delivery } from '../src/index.js';
import { job, logger, openBench, openWire, outcome, until, type Bench } from './support.js';

function isSubset(part: readonly string[], whole: ReadonlySet<string>): boolean {
  return part.every((element) => whole.has(element));
}

describe('recovery', () => {
  let bench: Bench;
  let seen: Delivery[];
  beforeAll(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.release());
  afterAll(() => bench.close());

  async function collecting(pool: string): Promise<Consumer> {
    seen = [];
    return bench.consumer(`work.${pool}.standard`, {
      prefetch: 10,
      handler: async (delivery) => {
        seen.push(delivery);
        return ack;
      },
    });
  }

  const ids = (): Set<string> => new Set(seen.map((one) => one.messageId));

  /** Publishes until the broker has confirmed it, as a caller that must not lose it does. */
  async function insist(pool: string, id: string): Promise<void> {
    await until(async () => (await outcome(bench.publisher.publish(job(pool, id)))) === 'resolved');
  }

  it('attaches again after an error of the broker has closed the channel', async () => {
    const pool = await bench.pool();
    const channels: Channel[] = [];
    const connection = bench.keep(createBrokerConnection({ url: bench.url, name: 'faulty', logger }));
    await connection.start();
    const model = await connection.open(new AbortController().signal);
    const original = model.createChannel.bind(model);
    model.createChannel = async (options) => {
      const channel = await original(options);
      channels.push(channel);
      return channel;
    };
    seen = [];
    const consumer = await bench.consumer(`work.${pool}.standard`, {
      connection,
      prefetch: 10,
      handler: async (delivery) => {
        seen.push(delivery);
        return ack;
      },
    });
    const [first] = channels;
    first?.ack({ fields: { deliveryTag: 4_711 } } as Parameters<Channel['ack']>[0]); // 406 unknown delivery tag
    await until(() => channels.length > 1 && consumer.attached);
    await insist(pool, 'after-406');
    await until(() => ids().has('after-406'));
    expect(connection.state).toBe('connected');
  });

  it('delivers again what was in hand when the connection was lost, and ignores the old settlement', async () => {
    const pool = await bench.pool();
    const wire = await openWire(bench.url);
    const connection = bench.keep(createBrokerConnection({ url: wire.url, name: 'cut', logger }));
    await connection.start();
    const handed: { delivery: Delivery; signal: AbortSignal; finish: () => void }[] = [];
    const consumer = await bench.consumer(`work.${pool}.standard`, {
      connection,
      prefetch: 10,
      handler: (delivery, signal) =>
        new Promise((resolve) => handed.push({ delivery, signal, finish: () => resolve(ack) })),
    });
    await insist(pool, 'twice');
    await until(() => handed.length === 1);
    wire.cut();
    await until(() => handed.length === 2);
    expect(handed.map((one) => one.delivery.redelivered)).toEqual([false, true]);
    expect(handed.map((one) => one.signal.aborted)).toEqual([true, false]);
    for (const one of handed) one.finish();
    await until(() => consumer.inFlight === 0);
    await consumer.stop();
    expect((await bench.inspect.checkQueue(`work.${pool}.standard`)).messageCount).toBe(0);
    await bench.release();
    await wire.close();
  });

  it('declares a queue again that was deleted under its consumer, and attaches to it', async () => {
    const pool = await bench.pool();
    const consumer = await collecting(pool);
    await bench.inspect.deleteQueue(`work.${pool}.standard`);
    await until(async () => {
      const queues = (await management(`queues/${encodeURIComponent(bench.vhost)}`)) as { name: string }[];
      return queues.some((queue) => queue.name === `work.${pool}.standard`);
    });
    await until(() => consumer.attached);
    await insist(pool, 'new-queue');
    await until(() => ids().has('new-queue'));
  });

  it('connects again after an operator has closed its connections', async () => {
    const pool = await bench.pool();
    const consumer = await collecting(pool);
    const closed = await bench.consuming.open(new AbortController().signal);
    await closeConnections();
    await until(async () => (await bench.consuming.open(new AbortController().signal)) !== closed);
    await until(() => consumer.attached);
    await insist(pool, 'after-close');
    await until(() => ids().has('after-close'));
  });

  it('loses nothing that was confirmed and queues nothing it refused, however often the wire is cut', async () => {
    const pool = await bench.pool();
    const wire = await openWire(bench.url);
    const connection = bench.keep(createBrokerConnection({ url: wire.url, name: 'cut', logger }));
    await connection.start();
    const publisher = bench.keep(createPublisher({ connection, logger, deadlineMs: 5_000 }));
    await publisher.start();
    seen = [];
    await bench.consumer(`work.${pool}.standard`, {
      connection,
      prefetch: 10,
      handler: async (delivery) => {
        seen.push(delivery);
        return ack;
      },
    });
    const outcomes = new Map<string, string>();
    let publishing = true;
    const lanes = Array.from({ length: 8 }, async (_, lane) => {
      for (let i = 0; publishing; i++) {
        const id = `${lane}-${i}`;
        outcomes.set(id, await outcome(publisher.publish(job(pool, id))));
        await new Promise((resolve) => setTimeout(resolve, 1)); // bounds the number of refusals while it is away
      }
    });
    for (let round = 0; round < 4; round++) {
      const before = ids().size;
      await until(() => ids().size > before + 20);
      wire.cut();
    }
    publishing = false;
    await Promise.all(lanes);
    const withOutcome = (how: string): string[] => [...outcomes].filter(([, one]) => one === how).map(([id]) => id);
    await until(() => isSubset(withOutcome('resolved'), ids()));
    const arrived = ids();
    expect(withOutcome('broker_unavailable').filter((id) => arrived.has(id))).toEqual([]);
    expect(new Set(outcomes.values())).toEqual(new Set(['resolved', 'broker_unavailable', 'publish_unconfirmed']));
    await bench.release();
    await wire.close();
  });

  it('stops while its connection is being lost', async () => {
    const wire = await openWire(bench.url);
    for (let round = 0; round < 10; round++) {
      const connection = createBrokerConnection({ url: wire.url, name: 'doomed', logger });
      await connection.start();
      const publisher = createPublisher({ connection, logger, deadlineMs: 1_000 });
      await publisher.start();
      if (round % 2 === 0) wire.cut();
      const stopped = Promise.all([publisher.stop(), connection.stop()]);
      wire.cut();
      await stopped;
      expect(connection.state).toBe('disconnected');
    }
    await wire.close();
  });

  async function management(path: string, method = 'GET'): Promise<unknown> {
    const { origin, username, password } = new URL(testServices().rabbitmqManagementUrl);
    const authorization = `Basic ${btoa(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`)}`;
    const response = await fetch(`${origin}/api/${path}`, { method, headers: { authorization } });
    return method === 'GET' ? response.json() : response.arrayBuffer();
  }

  /** Closes every connection of our own making in this virtual host, once the broker's statistics know them. */
  async function closeConnections(): Promise<void> {
    type Row = { name: string; client_properties: { connection_name?: string } };
    let rows: Row[] = [];
    await until(async () => {
      const found = (await management(`vhosts/${encodeURIComponent(bench.vhost)}/connections`)) as Row[];
      rows = found.filter((row) => row.client_properties.connection_name?.startsWith('test-'));
      return rows.length >= 2;
    });
    await Promise.all(rows.map((row) => management(`connections/${encodeURIComponent(row.name)}`, 'DELETE')));
  }
});
