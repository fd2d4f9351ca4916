import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createBrokerConnection, createInbox, type Delivery, type Inbox, type InboxOptions } from '../src/index.js';
import { job, logger, openBench, openWire, outcome, until, type Bench } from './support.js';

describe('an inbox', () => {
  let bench: Bench;
  let seen: Delivery[];
  beforeAll(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.release());
  afterAll(() => bench.close());

  async function open(options: Partial<InboxOptions> = {}): Promise<Inbox> {
    seen = [];
    const onMessage = (delivery: Delivery): void => void seen.push(delivery);
    const inbox = bench.keep(createInbox({ connection: bench.consuming, onMessage, logger, ...options }));
    await inbox.start();
    return inbox;
  }

  const ids = (): string[] => seen.map(({ messageId }) => messageId);
  const send = (queue: string | undefined, messageId: string): Promise<void> =>
    bench.publisher.publish({ ...job('x', messageId), exchange: '', routingKey: queue ?? '', replyTo: 'back' });

  it('receives what is sent to its queue, with its properties, in order', async () => {
    const inbox = await open({ queue: `fence.${randomUUID()}` });
    for (const id of ['a', 'b', 'c']) await send(inbox.queue, id);
    await until(() => seen.length === 3);
    expect(ids()).toEqual(['a', 'b', 'c']);
    expect(seen[0]).toMatchObject({ replyTo: 'back', queue: inbox.queue, userId: '' });
  });

  it('receives what is told to everybody, beside other inboxes', async () => {
    const others: string[] = [];
    await open({ bindTo: 'cancellations', onMessage: ({ messageId }) => void others.push(messageId) });
    await open({ bindTo: 'cancellations' });
    await bench.publisher.publish({ ...job('x', 'news'), exchange: 'cancellations' });
    await until(() => seen.length === 1 && others.length === 1);
  });

  it('belongs to its connection alone', async () => {
    const inbox = await open();
    const stranger = bench.keep(createBrokerConnection({ url: bench.url, name: 'stranger', logger }));
    await stranger.start();
    const look = stranger.use((channel) => channel.checkQueue(inbox.queue ?? ''));
    await expect(look).rejects.toThrow('RESOURCE_LOCKED');
  });

  it('goes on after a message that its owner throws at', async () => {
    const inbox = await open({
      onMessage(delivery) {
        if (delivery.messageId === 'bad') throw new Error('bad');
        seen.push(delivery);
      },
    });
    await send(inbox.queue, 'bad');
    await send(inbox.queue, 'good');
    await until(() => seen.length === 1);
    expect(ids()).toEqual(['good']);
  });

  it('is attached again under the same name after its connection was lost', async () => {
    const wire = await openWire(bench.url);
    const connection = bench.keep(createBrokerConnection({ url: wire.url, name: 'cut', logger }));
    await connection.start();
    const queue = `fence.${randomUUID()}`;
    let attached = 0;
    const inbox = await open({ connection, queue, onAttached: () => void (attached += 1) });
    await send(queue, 'before');
    await until(() => seen.length === 1);
    wire.cut();
    await until(() => attached === 2);
    expect(inbox.attached).toBe(true);
    await send(queue, 'after');
    await until(() => seen.length === 2);
    await bench.release();
    await wire.close();
  });

  it('has another name after its connection was lost when none was given', async () => {
    const wire = await openWire(bench.url);
    const connection = bench.keep(createBrokerConnection({ url: wire.url, name: 'cut', logger }));
    await connection.start();
    const inbox = await open({ connection });
    const first = inbox.queue;
    wire.cut();
    await until(() => !inbox.attached);
    await until(() => inbox.attached);
    expect(inbox.queue).not.toBe(first);
    await bench.release();
    await wire.close();
  });

  it('is no longer there when it is stopped, and a stop is safe twice and before the start', async () => {
    const inbox = await open();
    const { queue } = inbox;
    await inbox.stop();
    await inbox.stop();
    expect(inbox.attached).toBe(false);
    await expect(outcome(send(queue, 'late'))).resolves.toBe('broker_unavailable');
    const never = createInbox({ connection: bench.consuming, onMessage: () => undefined, logger });
    await never.stop();
  });
});
