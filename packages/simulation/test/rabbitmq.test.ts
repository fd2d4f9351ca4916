import { describe, expect, it } from '@jest/globals';
import type { Channel, ChannelModel, ConfirmChannel } from 'amqplib';
import { createKernel, type Kernel, type SimProcess } from '../src/kernel/index.js';
import { createSimRabbit, type SimRabbit } from '../src/rabbitmq/index.js';

const QUORUM = { durable: true, arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': 9 } };

/** A client's connection with one channel, and what it has heard. */
interface Client {
  readonly process: SimProcess;
  readonly model: ChannelModel;
  readonly channel: ConfirmChannel;
  readonly heard: string[];
}

interface Bench {
  readonly kernel: Kernel;
  readonly rabbit: SimRabbit;
  client(name: string): Promise<Client>;
  /** Lets this much virtual time pass. */
  pass(ms: number): Promise<void>;
  /** Runs what a client does, and all that follows from it. */
  does<T>(client: Pick<Client, 'process'>, action: () => Promise<T> | T): Promise<T>;
}

function openBench(seed = 1): Bench {
  const kernel = createKernel({ seed, startMs: Date.UTC(2026, 0, 1) });
  const rabbit = createSimRabbit(kernel, { stallChance: 0 });
  async function pass(ms: number): Promise<void> {
    kernel.schedule(ms, undefined, 'time has passed', () => undefined); // a run ends at its last event
    await kernel.run({ maxMs: ms });
  }

  async function does<T>({ process }: Pick<Client, 'process'>, action: () => Promise<T> | T): Promise<T> {
    let settled: Promise<T> | undefined;
    let over = false;
    kernel.enter(process, 'acts', () => {
      settled = (async () => action())();
      settled.then(
        () => (over = true),
        () => (over = true),
      );
    });
    await kernel.run({ until: () => over, maxMs: 60_000 });
    if (settled === undefined || !over) throw new Error('What the client did has not ended.');
    return settled;
  }

  return {
    ...{ kernel, rabbit, pass, does },
    async client(name) {
      const process = kernel.process(name);
      const heard: string[] = [];
      const model = await does({ process }, () => connectAs(rabbit, process));
      model.on('error', (error) => heard.push(`error ${error.message}`));
      for (const event of ['close', 'blocked', 'unblocked']) model.on(event, () => heard.push(event));
      const channel = await does({ process }, () => model.createConfirmChannel());
      channel.on('error', () => undefined);
      return { process, model, channel, heard };
    },
  };
}

function connectAs(rabbit: SimRabbit, process: SimProcess, timeout?: number): Promise<ChannelModel> {
  const options = { clientProperties: { connection_name: 'test' }, ...(timeout !== undefined && { timeout }) };
  return rabbit.connect(process)('amqp://guest@simulated/?heartbeat=10', options);
}

async function consuming(bench: Bench, client: Client, queue: string, prefetch = 10): Promise<string[]> {
  const got: string[] = [];
  await bench.does(client, async () => {
    await client.channel.prefetch(prefetch);
    await client.channel.consume(queue, (message) => {
      got.push(
        message === null ? 'cancelled' : message.content.toString() + (message.fields.redelivered ? ' again' : ''),
      );
    });
  });
  return got;
}

function send(channel: Channel, queue: string, ...bodies: readonly string[]): void {
  for (const body of bodies) channel.sendToQueue(queue, Buffer.from(body), { persistent: true });
}

describe('a client that dies', () => {
  it('gives back what it held, and its exclusive queue ends', async () => {
    const bench = openBench();
    const [one, other] = [await bench.client('one'), await bench.client('other')];
    await bench.does(one, async () => {
      await one.channel.assertQueue('work', QUORUM);
      await one.channel.assertQueue('own', { exclusive: true });
      send(one.channel, 'work', 'a', 'b');
    });
    expect(await consuming(bench, one, 'work')).toEqual([]);
    await bench.pass(1_000);
    one.process.kill();
    const got = await consuming(bench, other, 'work');
    await bench.pass(1_000);
    expect(got).toEqual(['a again', 'b again']);
    expect(bench.rabbit.queues().map(({ name }) => name)).toEqual(['work']);
  });

  it('may have sent any first part of what was under way', async () => {
    const lengths = new Set<number>();
    for (let seed = 1; seed <= 40; seed++) {
      const bench = openBench(seed);
      const one = await bench.client('one');
      await bench.does(one, () => one.channel.assertQueue('work', QUORUM));
      await bench.does(one, () => send(one.channel, 'work', 'a', 'b', 'c'));
      one.process.kill();
      await bench.pass(1_000);
      lengths.add(bench.rabbit.depth('work'));
      const other = await bench.client('other');
      const got = await consuming(bench, other, 'work');
      await bench.pass(1_000);
      expect(['a', 'b', 'c'].slice(0, got.length)).toEqual(got);
    }
    expect([...lengths].sort()).toEqual([0, 1, 2, 3]);
  });

  it('is noticed even when its connection is reset at the same moment', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const bench = openBench(seed);
      const one = await bench.client('one');
      await bench.does(one, () => one.channel.assertQueue('own', { exclusive: true }));
      one.process.kill();
      bench.rabbit.dropConnections();
      await bench.pass(1_000);
      expect(bench.rabbit.queues()).toEqual([]);
    }
  });

  it('is found dead by its heartbeats when nothing tells of it', async () => {
    const bench = openBench();
    const one = await bench.client('one');
    await bench.does(one, () => one.channel.assertQueue('own', { exclusive: true }));
    bench.rabbit.blackHole(one.process, 1);
    await bench.pass(15_000);
    expect([bench.rabbit.queues().length, one.heard]).toEqual([1, []]);
    await bench.pass(30_000);
    expect([bench.rabbit.queues().length, one.heard]).toEqual([0, ['error Heartbeat timeout', 'close']]);
  });

  it('loses its connection when it stands still for too long', async () => {
    const bench = openBench();
    const one = await bench.client('one');
    await bench.does(one, () => one.channel.assertQueue('own', { exclusive: true }));
    one.process.pause(60_000);
    await bench.pass(50_000);
    expect([bench.rabbit.queues().length, one.heard]).toEqual([0, []]);
    await bench.pass(20_000);
    expect(one.heard).toEqual(['error Unexpected close', 'close']);
  });
});

describe('a connection that is reset', () => {
  it('fails what was not answered, and delivers again what was not settled', async () => {
    const bench = openBench();
    const one = await bench.client('one');
    await bench.does(one, () => one.channel.assertQueue('work', QUORUM));
    const answers: string[] = [];
    await bench.does(one, () => {
      one.channel.sendToQueue('work', Buffer.from('a'), {}, (error: unknown) => answers.push(String(error)));
    });
    bench.rabbit.dropConnections(one.process);
    await bench.pass(1_000);
    expect(answers).toHaveLength(1);
    expect(one.heard).toEqual(['error read ECONNRESET', 'close']);
  });
});

describe('a broker that is restarted', () => {
  it('refuses connections while it is down, and keeps what is durable', async () => {
    const bench = openBench();
    const [one, late] = [await bench.client('one'), bench.kernel.process('late')];
    await bench.does(one, async () => {
      await one.channel.assertQueue('work', QUORUM);
      await one.channel.assertQueue('plain', { durable: true });
      await one.channel.assertQueue('passing', { durable: false });
      send(one.channel, 'work', 'a', 'b');
      send(one.channel, 'plain', 'c');
      one.channel.sendToQueue('plain', Buffer.from('not persistent'));
      await one.channel.waitForConfirms();
    });
    bench.rabbit.restart(5_000);
    await expect(bench.does({ process: late }, () => connectAs(bench.rabbit, late))).rejects.toThrow('ECONNREFUSED');
    await bench.pass(10_000);
    expect(one.heard).toEqual(['error read ECONNRESET', 'close']);
    expect(bench.rabbit.queues().map(({ name, ready }) => [name, ready])).toEqual([
      ['work', 2],
      ['plain', 1],
    ]);
  });

  it('tells its clients when it is shut down in order', async () => {
    const bench = openBench();
    const one = await bench.client('one');
    const reasons: unknown[] = [];
    one.model.on('close', (error) => reasons.push((error as { code?: number } | undefined)?.code));
    bench.rabbit.restart(1_000, 'shutdown');
    await bench.pass(2_000);
    expect([reasons, one.heard]).toEqual([[320], ['close']]);
  });

  it('goes on moving dead messages, loses none, and may leave two of one', async () => {
    const dead = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'graves' };
    const safely = { 'x-dead-letter-strategy': 'at-least-once', 'x-overflow': 'reject-publish', 'x-message-ttl': 20 };
    const buried = new Set<number>();
    for (let seed = 1; seed <= 60; seed++) {
      const bench = openBench(seed);
      const one = await bench.client('one');
      await bench.does(one, async () => {
        await one.channel.assertQueue('graves', QUORUM);
        await one.channel.assertQueue('tier', { arguments: { ...QUORUM.arguments, ...dead, ...safely } });
        send(one.channel, 'tier', 'a', 'b', 'c');
        await one.channel.waitForConfirms();
      });
      await bench.pass(bench.kernel.random.between(15, 25));
      bench.rabbit.restart(5);
      await bench.pass(1_000);
      expect(bench.rabbit.depth('tier')).toBe(0);
      buried.add(bench.rabbit.depth('graves'));
    }
    expect(Math.min(...buried)).toBe(3);
    expect(Math.max(...buried)).toBeGreaterThan(3);
  });
});

describe('an alarm', () => {
  it('blocks connections that publish, after their first publish, and others not', async () => {
    const bench = openBench();
    const [writer, reader] = [await bench.client('writer'), await bench.client('reader')];
    await bench.does(writer, () => writer.channel.assertQueue('work', QUORUM));
    const got = await consuming(bench, reader, 'work');
    bench.rabbit.block();
    await bench.does(writer, () => send(writer.channel, 'work', 'a', 'b'));
    await bench.pass(5_000);
    expect([got, writer.heard, reader.heard]).toEqual([['a'], ['blocked'], []]);
    bench.rabbit.unblock();
    await bench.pass(5_000);
    expect([got, writer.heard]).toEqual([
      ['a', 'b'],
      ['blocked', 'unblocked'],
    ]);
  });
});

describe('the oracle', () => {
  it('is idle only when nothing is ready, unacked or under way', async () => {
    const bench = openBench();
    const one = await bench.client('one');
    await bench.does(one, () => one.channel.assertQueue('work', QUORUM));
    expect(bench.rabbit.idle).toBe(true);
    await bench.does(one, () => send(one.channel, 'work', 'a'));
    expect([bench.rabbit.idle, bench.rabbit.isIdleBut(['work'])]).toEqual([false, false]);
    await bench.pass(1_000);
    expect([bench.rabbit.idle, bench.rabbit.isIdleBut(['work'])]).toEqual([false, true]);
    const got = await consuming(bench, one, 'work');
    await bench.pass(1_000);
    expect(got).toEqual(['a']);
    expect([bench.rabbit.idle, bench.rabbit.depth('work')]).toEqual([false, 1]);
    await bench.does(one, () => one.channel.ackAll());
    await bench.pass(1_000);
    expect(bench.rabbit.idle).toBe(true);
  });
});
