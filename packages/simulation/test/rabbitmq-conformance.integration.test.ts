import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createVirtualHost, testServices, type VirtualHost } from '@sluice/local-services';
import type { Step } from './rabbitmq-script.js';
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

  const publish = (
    exchange: string,
    key: string,
    options: { mandatory?: boolean; expirationMs?: number } = {},
  ): Step => ({
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

  it('shows any clients what the real one shows them', async () => {
    const channel = fc.nat(3);
    const queue = fc.constantFrom('limited', 'plain', 'graves', 'lost');
    const bool = fc.boolean();
    const kinds: { weight: number; arbitrary: fc.Arbitrary<Step> }[] = [
      {
        weight: 8,
        arbitrary: fc.record({
          do: fc.constant('publish'),
          channel,
          exchange: fc.constantFrom('main', 'main', 'main', 'forward', 'lonely', 'dead'),
          key: fc.constantFrom('work.a', 'work.b.c', 'news', 'news.a.b', 'both', 'wait.later', 'nowhere'),
          mandatory: bool,
        }),
      },
      {
        weight: 4,
        arbitrary: fc.record({ do: fc.constant('consume'), channel, queue, prefetch: fc.nat(3), noAck: rarely }),
      },
      { weight: 5, arbitrary: fc.record({ do: fc.constant('ack'), channel, nth: fc.nat(3), multiple: bool }) },
      {
        weight: 5,
        arbitrary: fc.record({ do: fc.constant('nack'), channel, nth: fc.nat(3), multiple: bool, requeue: bool }),
      },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel'), channel }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('closeChannel', 'closeConnection'), channel }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('ackUnknown', 'exclusive'), channel }) },
      {
        weight: 1,
        arbitrary: fc.record({ do: fc.constantFrom('purge', 'check', 'declareOtherwise'), channel, queue }),
      },
    ];
    const steps = fc.array(fc.oneof(...kinds), { minLength: 1, maxLength: 25 });
    await fc.assert(fc.asyncProperty(steps, compare), { numRuns: RUNS, interruptAfterTimeLimit: 100_000 });
  }, 120_000);
});

const RUNS = 25;
const rarely = fc.nat(5).map((n) => n === 0);
