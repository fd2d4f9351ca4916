import type { ChannelModel, ConfirmChannel, ConsumeMessage } from 'amqplib';

export interface Publish {
  do: 'publish';
  channel: number;
  exchange: string;
  key: string;
  mandatory: boolean;
  expirationMs?: number;
  /** How many, one after the other; 1 when absent. */
  times?: number;
}

/** One call of a client, or a few that belong together. Channels and connections are opened when first needed. */
export type Step =
  | Publish
  | { do: 'consume'; channel: number; queue: string; prefetch: number; noAck: boolean }
  | { do: 'cancel'; channel: number }
  | { do: 'ack'; channel: number; nth: number; multiple: boolean }
  | { do: 'nack'; channel: number; nth: number; multiple: boolean; requeue: boolean }
  | { do: 'ackUnknown'; channel: number }
  | { do: 'closeChannel'; channel: number }
  | { do: 'closeConnection'; channel: number }
  | { do: 'declareOtherwise'; channel: number; queue: string }
  | { do: 'exclusive'; channel: number }
  | { do: 'purge' | 'delete' | 'check'; channel: number; queue: string };

/** What clients saw during one step, by where they saw it; and how many messages each queue has ready after it. */
export interface Observed {
  readonly seen: Readonly<Record<string, readonly string[]>>;
  readonly ready: Readonly<Record<string, number>>;
}

/** Where a script runs. */
export interface Stage {
  connect(): Promise<ChannelModel>;
  /** Before every name of an exchange or queue. */
  readonly prefix: string;
  /** Waits until nothing goes on any more, or `isDone` holds where that is known. */
  quiet(isDone: () => Promise<boolean>): Promise<void>;
}

const QUORUM = { 'x-queue-type': 'quorum' };
const SAFELY = { 'x-dead-letter-strategy': 'at-least-once', 'x-overflow': 'reject-publish' };
const TTL_MS = 40;

const QUEUES = ['limited', 'plain', 'waiting', 'again', 'graves', 'lost'] as const;
const EXCHANGES = ['main', 'others', 'dead', 'lonely', 'forward'];
const EXCLUSIVE = 'own';

/** Declares the queues that scripts use: every kind of queue, dead letter and route that the suite has, and more. */
async function declareAll(channel: ConfirmChannel, prefix: string): Promise<void> {
  const named = (name: string): string => prefix + name;
  const dead = { 'x-dead-letter-exchange': named('dead') };
  await channel.assertExchange(named('others'), 'fanout');
  await channel.assertExchange(named('dead'), 'fanout');
  await channel.assertExchange(named('main'), 'topic', { alternateExchange: named('others') });
  await channel.assertExchange(named('lonely'), 'direct');
  await channel.assertExchange(named('forward'), 'fanout');
  await channel.assertQueue(named('limited'), { arguments: { ...QUORUM, ...SAFELY, ...dead, 'x-delivery-limit': 2 } });
  await channel.assertQueue(named('plain'), { arguments: { ...dead, 'x-max-length': 4 } });
  await channel.assertQueue(named('waiting'), {
    arguments: { ...QUORUM, ...SAFELY, ...dead, 'x-message-ttl': TTL_MS },
  });
  await channel.assertQueue(named('again'), {
    arguments: { ...QUORUM, ...SAFELY, 'x-message-ttl': TTL_MS, 'x-dead-letter-exchange': named('main') },
  });
  // What is refused here comes back to where it died.
  await channel.assertQueue(named('graves'), { arguments: { ...QUORUM, 'x-dead-letter-exchange': named('main') } });
  await channel.assertQueue(named('lost'), {});
  for (const [queue, exchange, key] of [
    ['limited', 'main', 'work.*'],
    ['plain', 'main', 'news.#'],
    ['limited', 'main', 'both'],
    ['plain', 'main', 'both'],
    ['waiting', 'main', 'wait.#.later'],
    ['again', 'forward', ''],
    ['graves', 'dead', ''],
    ['lost', 'others', ''],
  ] as const)
    await channel.bindQueue(named(queue), named(exchange), key);
  await channel.bindExchange(named('main'), named('forward'), '');
}

interface OpenChannel {
  readonly channel: ConfirmChannel;
  /** By delivery tag, ascending. */
  readonly unacked: ConsumeMessage[];
  consumerTag: string | undefined;
}

/** Runs a script and notes what its clients see. `expected` is what another stage saw, when it is known. */
export async function perform(
  stage: Stage,
  steps: readonly Step[],
  expected?: readonly Observed[],
): Promise<Observed[]> {
  const { prefix } = stage;
  const connections: (ChannelModel | undefined)[] = [];
  const channels: (OpenChannel | undefined)[] = [];
  let seen: Record<string, string[]> = {};
  let bodies = 0;

  const note = (where: string, what: string): void => void (seen[where] ??= []).push(what);

  /** The first two channels share a connection. */
  async function connectionOf(number: number): Promise<ChannelModel> {
    const index = Math.max(0, number - 1);
    const open = connections[index];
    if (open !== undefined) return open;
    const model = await stage.connect();
    model.on('error', (error) => note(`connection ${index}`, `error ${codeOf(error)}`));
    model.on('close', () => {
      note(`connection ${index}`, 'close');
      connections[index] = undefined;
    });
    connections[index] = model;
    return model;
  }

  async function channelOf(number: number): Promise<OpenChannel> {
    const known = channels[number];
    if (known !== undefined) return known;
    const channel = await (await connectionOf(number)).createConfirmChannel();
    const where = `channel ${number}`;
    channel.on('error', (error) => note(where, `error ${codeOf(error)}`));
    channel.on('close', () => {
      note(where, 'close');
      channels[number] = undefined;
    });
    channel.on('cancel', () => note(where, 'cancel'));
    channel.on('return', (message) => note('publishes', `${message.content.toString()} returned ${replyOf(message)}`));
    const open: OpenChannel = { channel, unacked: [], consumerTag: undefined };
    channels[number] = open;
    return open;
  }

  function onMessage(number: number, open: OpenChannel, { queue, noAck }: Extract<Step, { do: 'consume' }>) {
    return (message: ConsumeMessage | null): void => {
      const where = `deliveries of ${queue} to ${number}`;
      if (message === null) return note(where, 'cancelled');
      if (!noAck) open.unacked.push(message);
      note(where, describe(message, prefix));
    };
  }

  async function act(step: Step): Promise<void> {
    const open = await channelOf(step.channel);
    const { channel, unacked } = open;
    const answer = (text: string): void => note(`channel ${step.channel}`, text);
    switch (step.do) {
      case 'publish': {
        const [exchange, key] = step.exchange === '' ? ['', prefix + step.key] : [prefix + step.exchange, step.key];
        const { mandatory, expirationMs, times = 1 } = step;
        const expiration = expirationMs === undefined ? {} : { expiration: expirationMs };
        for (let count = 0; count < times; count++) {
          const body = `m${bodies++}`;
          channel.publish(exchange, key, Buffer.from(body), { mandatory, persistent: true, ...expiration }, (error) =>
            note('publishes', `${body} ${error ? String(error) : 'confirmed'}`),
          );
        }
        return;
      }
      case 'consume':
        if (open.consumerTag !== undefined) return;
        await channel.prefetch(step.prefetch);
        open.consumerTag = (
          await channel.consume(prefix + step.queue, onMessage(step.channel, open, step), { noAck: step.noAck })
        ).consumerTag;
        return answer('consumes');
      case 'cancel':
        if (open.consumerTag === undefined) return;
        await channel.cancel(open.consumerTag);
        open.consumerTag = undefined;
        return answer('cancelled');
      case 'ack':
      case 'nack': {
        const message = unacked[step.nth % Math.max(1, unacked.length)];
        if (message === undefined) return;
        if (step.do === 'ack') channel.ack(message, step.multiple);
        else channel.nack(message, step.multiple, step.requeue);
        const index = unacked.indexOf(message);
        unacked.splice(step.multiple ? 0 : index, step.multiple ? index + 1 : 1);
        // n.b. answered after the frame before it was dealt with.
        await channel.checkExchange(prefix + 'main');
        return;
      }
      case 'ackUnknown':
        channel.ack({ fields: { deliveryTag: 4_711 } } as ConsumeMessage);
        return;
      case 'closeChannel':
        return channel.close();
      case 'closeConnection':
        return (await connectionOf(step.channel)).close();
      case 'declareOtherwise':
        await channel.assertQueue(prefix + step.queue, { arguments: { 'x-message-ttl': 77 } });
        return answer('declared');
      case 'exclusive':
        await channel.assertQueue(prefix + EXCLUSIVE, { exclusive: true, durable: false });
        return answer('has its own');
      case 'purge':
        return answer(`purged ${(await channel.purgeQueue(prefix + step.queue)).messageCount}`);
      case 'delete':
        return answer(`deleted ${(await channel.deleteQueue(prefix + step.queue)).messageCount}`);
      case 'check':
        return answer(`${step.queue} has ${(await channel.checkQueue(prefix + step.queue)).messageCount}`);
    }
  }

  const watching = await stage.connect();
  const watch = await watching.createConfirmChannel();
  await declareAll(watch, prefix);
  const alive = new Set<string>(QUEUES);
  async function readyNow(): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const queue of alive) counts[queue] = (await watch.checkQueue(prefix + queue)).messageCount;
    return counts;
  }

  const observed: Observed[] = [];
  for (const [index, step] of steps.entries()) {
    await act(step).catch((error: unknown) => note(`channel ${step.channel}`, `rejected ${codeOf(error)}`));
    if (step.do === 'delete') alive.delete(step.queue);
    const wanted = expected?.[index];
    await stage.quiet(
      async () => wanted !== undefined && isAsSeen(wanted.seen, seen) && isSame(wanted.ready, await readyNow()),
    );
    seen['publishes']?.sort(); // confirms of several publishes come in any order
    observed.push({ seen, ready: await readyNow() });
    seen = {};
  }

  for (const model of connections) await model?.close();
  for (const queue of QUEUES) await watch.deleteQueue(prefix + queue);
  for (const exchange of EXCHANGES) await watch.deleteExchange(prefix + exchange);
  await watching.close();
  return observed;
}

function codeOf(error: unknown): string {
  const { code, message } = error as { code?: number; message: string };
  return String(code ?? message);
}

function replyOf({ fields }: { fields: object }): string {
  return String((fields as { replyCode: number }).replyCode);
}

interface Death {
  readonly count: number;
  readonly reason: string;
  readonly queue: string;
  readonly exchange: string;
  readonly 'routing-keys': readonly string[];
  readonly 'original-expiration'?: string;
}

/** What must be the same of a delivery, wherever it was made. */
function describe({ fields, properties, content }: ConsumeMessage, prefix: string): string {
  const headers = (properties.headers ?? {}) as Record<string, unknown>;
  const deaths = ((headers['x-death'] ?? []) as readonly Death[]).map((death) =>
    [
      `${death.reason} of ${death.queue} ×${death.count} from ${death.exchange || 'default'}/${death['routing-keys'].join()}`,
      death['original-expiration'] ?? '',
    ].join(' '),
  );
  const first = ['exchange', 'queue', 'reason'].map((part) => headers[`x-first-death-${part}`]).join('/');
  const text = [
    content.toString(),
    fields.redelivered ? 'again' : 'new',
    `tag ${fields.deliveryTag}`,
    `${fields.exchange || 'default'}/${fields.routingKey}`,
    `returns ${String(headers['x-delivery-count'])}`,
    `expiration ${String(properties.expiration)} mode ${String(properties.deliveryMode)}`,
    `deaths [${deaths.join('; ')}] first ${first}`,
  ].join(', ');
  return text.replaceAll(prefix, '');
}

function isAsSeen(wanted: Observed['seen'], seen: Observed['seen']): boolean {
  return Object.entries(wanted).every(([where, what]) => (seen[where]?.length ?? 0) >= what.length);
}

function isSame(wanted: Readonly<Record<string, number>>, counts: Readonly<Record<string, number>>): boolean {
  return Object.entries(wanted).every(([queue, count]) => counts[queue] === count);
}
