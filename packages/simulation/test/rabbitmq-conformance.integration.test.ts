import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createVirtualHost, testServices, type VirtualHost } from '@sluice/local-services';
import type { Publish, Step } from './rabbitmq-script.js';
import { performReal, performSimulated } from './rabbitmq-stages.js';

describe('the simulated RabbitMQ', () => {
  let vhost: VirtualHost;
  beforeAll(async () => {
    const { rabbitmqUrl, rabbitmqManagementUrl } = testServices();
    vhost = await createVirtualHost({ rabbitmqUrl, managementUrl: rabbitmqManagementUrl });
  });
  afterAll(() => vhost.drop());

  /** Both brokers show the clients of a script the same. */
  async function compare(steps: readonly Step[]): Promise<void> {
    const simulated = await performSimulated(steps);
    const real = await performReal(vhost.url, steps, simulated);
    expect(simulated.map((step, index) => [steps[index], step])).toEqual(
      real.map((step, index) => [steps[index], step]),
    );
  }

  const publish = (exchange: string, key: string, options: Partial<Publish> = {}): Publish => ({
    ...{ do: 'publish', channel: 0, exchange, key, mandatory: true },
    ...options,
  });
  const consume = (channel: number, queue: string, prefetch: number, noAck = false): Step => ({
    ...{ do: 'consume', channel, queue, prefetch, noAck },
  });

  it('routes, confirms and returns as the real one does', async () => {
    await compare([
      publish('main', 'work.a'),
      publish('main', 'both'),
      publish('main', 'nowhere'), // to the alternate exchange
      publish('lonely', 'nowhere'),
      publish('lonely', 'nowhere', { mandatory: false }),
      publish('', 'limited'),
      publish('', 'nobody'),
      publish('forward', 'news.of.today'),
      { do: 'check', channel: 1, queue: 'limited' },
      publish('missing', 'x'),
      publish('main', 'news'),
    ]);
  });

  it('redelivers, counts and buries as the real one does', async () => {
    const back: Step = { do: 'nack', channel: 1, nth: 0, multiple: true, requeue: true };
    await compare([
      ...['work.1', 'work.2', 'work.3'].map((key) => publish('main', key)),
      consume(1, 'limited', 2),
      back,
      { do: 'nack', channel: 1, nth: 1, multiple: false, requeue: true },
      { do: 'nack', channel: 1, nth: 0, multiple: false, requeue: false },
      { do: 'closeChannel', channel: 1 },
      consume(3, 'limited', 10),
      { do: 'closeConnection', channel: 3 },
      consume(1, 'limited', 1),
      back,
      consume(2, 'graves', 10),
      { do: 'nack', channel: 1, nth: 0, multiple: true, requeue: false },
      { do: 'ack', channel: 2, nth: 1, multiple: true },
    ]);
  });

  it('lets messages expire at the head of a queue only, and sends them on', async () => {
    await compare([
      consume(1, 'graves', 10),
      publish('main', 'wait.for.it.later'),
      publish('main', 'wait.later', { expirationMs: 5 }),
      publish('', 'plain', { expirationMs: 1 }),
      publish('forward', 'work.again'),
      consume(2, 'limited', 5),
      { do: 'nack', channel: 2, nth: 0, multiple: false, requeue: false },
    ]);
  });

  it('closes what is misused, with the same codes', async () => {
    await compare([
      { do: 'exclusive', channel: 0 },
      { do: 'exclusive', channel: 2 },
      publish('', 'own'),
      { do: 'check', channel: 2, queue: 'own' },
      { do: 'closeConnection', channel: 0 },
      publish('', 'own'),
      { do: 'check', channel: 2, queue: 'own' },
      { do: 'ackUnknown', channel: 1 },
      { do: 'declareOtherwise', channel: 1, queue: 'limited' },
      consume(1, 'nobody', 1),
      consume(1, 'plain', 1),
      publish('', 'plain'),
      { do: 'delete', channel: 2, queue: 'plain' },
      { do: 'ack', channel: 1, nth: 0, multiple: false },
      publish('main', 'both'),
    ]);
  });

  it('keeps returned messages in the order in which the real one does', async () => {
    const keys = { limited: 'work.1', plain: 'news' };
    for (const queue of ['limited', 'plain'] as const)
      await compare([
        { ...publish('main', keys[queue]), times: 4 },
        consume(1, queue, 3),
        { do: 'nack', channel: 1, nth: 2, multiple: false, requeue: true },
        { do: 'nack', channel: 1, nth: 2, multiple: true, requeue: true },
        { do: 'cancel', channel: 1 },
        { do: 'nack', channel: 1, nth: 1, multiple: false, requeue: true },
        { do: 'nack', channel: 1, nth: 0, multiple: true, requeue: true },
        consume(2, queue, 10),
        consume(3, queue, 1),
        { ...publish('main', keys[queue]), times: 4 },
        { do: 'closeChannel', channel: 2 },
      ]);
  });

  it('gives each of several consumers its turn as the real one does', async () => {
    for (const queue of ['limited', 'plain'] as const)
      await compare([
        consume(1, queue, 2),
        consume(2, queue, 3),
        consume(3, queue, 1, queue === 'plain'),
        ...Array.from({ length: 7 }, () => publish('', queue)),
        { do: 'ack', channel: 2, nth: 0, multiple: false },
        { do: 'ack', channel: 1, nth: 1, multiple: true },
        ...Array.from({ length: 4 }, () => publish('', queue)),
      ]);
  });

  it('counts deaths of one kind in one queue together, the newest first', async () => {
    const refuse = (channel: number): Step => ({ do: 'nack', channel, nth: 0, multiple: false, requeue: false });
    await compare([
      consume(1, 'limited', 1),
      consume(2, 'graves', 1),
      publish('main', 'work.1'),
      ...[refuse(1), refuse(2), refuse(1), refuse(2), refuse(1)],
    ]);
  });

  // Few queues and few channels, so that much happens to the same messages.
  it.each([
    ['limited', 'work.a'],
    ['plain', 'news.a'],
  ])(
    'shows any clients of the queue "%s" what the real one shows them',
    async (queue, key) => {
      await fc.assert(fc.asyncProperty(stepsOn(queue, key), compare), {
        numRuns: RUNS,
        endOnFailure: true,
      });
    },
    120_000,
  );
});

/** Runs of each property. */
const RUNS = 12;

/** What clients may do, mostly with one queue. */
function stepsOn(favourite: string, favouriteKey: string): fc.Arbitrary<Step[]> {
  const channel = fc.nat(3);
  const multiple = fc.boolean();
  const nth = fc.nat(3);
  const queue = fc.constantFrom(favourite, favourite, favourite, 'graves', 'lost');
  const key = fc.constantFrom(...[favouriteKey, favouriteKey, favouriteKey], 'both', 'wait.later', 'nowhere');
  const exchange = fc.constantFrom('main', 'main', 'main', 'main', 'forward', 'lonely', 'dead');
  const seldom = fc.nat(5).map((n) => n === 0);
  const mandatory = fc.boolean();
  const kinds: readonly (readonly [number, fc.Arbitrary<Step>])[] = [
    [
      6,
      fc.record({
        do: fc.constant('publish'),
        channel,
        exchange,
        key,
        mandatory,
        times: fc.integer({ min: 1, max: 3 }),
      }),
    ],
    [3, fc.record({ do: fc.constant('consume'), channel, queue, prefetch: fc.nat(3), noAck: seldom })],
    [5, fc.record({ do: fc.constant('ack'), channel, nth, multiple })],
    [7, fc.record({ do: fc.constant('nack'), channel, nth, multiple, requeue: seldom.map((value) => !value) })],
    [2, fc.record({ do: fc.constant('cancel'), channel })],
    [1, fc.record({ do: fc.constant('closeChannel'), channel })],
    // n.b. when two channels go at once, messages may go from one to the other and back, and be counted twice.
    [1, fc.record({ do: fc.constant('closeConnection'), channel: fc.constantFrom(2, 3) })],
    [1, fc.record({ do: fc.constantFrom('ackUnknown', 'exclusive'), channel })],
    [1, fc.record({ do: fc.constantFrom('purge', 'check', 'declareOtherwise'), channel, queue })],
  ];
  const step = fc.oneof(...kinds.map(([weight, arbitrary]) => ({ weight, arbitrary })));
  return fc.array(step, { minLength: 15, maxLength: 40, size: 'max' });
}
