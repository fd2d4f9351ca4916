import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectSocket, createServer, type AddressInfo, type Socket } from 'node:net';
import { connect, type Channel, type ConsumeMessage } from 'amqplib';
import { createVirtualHost, testServices } from '@sluice/local-services';
import { createLogger, type Service } from '@sluice/runtime';
import {
  createBatchConsumer,
  createBrokerConnection,
  createConsumer,
  createPublisher,
  declareTopology,
  type AdjustableConsumer,
  type BatchConsumerOptions,
  type BrokerConnection,
  type Consumer,
  type ConsumerOptions,
  type OutgoingMessage,
  type Publisher,
} from '../src/index.js';

export const logger = createLogger({ app: 'broker-test', level: process.env['SLUICE_LOG_LEVEL'] ?? 'silent' });

/** A retry tier that tests can wait for. */
export const QUICK_TIER = { name: 'retry.quick', delayMs: 100 };

type Given = 'connection' | 'publisher' | 'logger' | 'queue';
type Chosen<Options extends ConsumerOptions | BatchConsumerOptions> = Omit<Options, Given> & {
  readonly connection?: BrokerConnection;
};

/** A virtual host with two started connections, a publisher, and a plain amqplib channel to look at the broker with. */
export interface Bench {
  readonly url: string;
  readonly vhost: string;
  readonly consuming: BrokerConnection;
  readonly publisher: Publisher;
  readonly inspect: Channel;
  /** Declares a new pool with a `standard` work queue and returns the pool's name. */
  pool(): Promise<string>;
  consumer(queue: string, options: Chosen<ConsumerOptions>): Promise<AdjustableConsumer>;
  batchConsumer(queue: string, options: Chosen<BatchConsumerOptions>): Promise<Consumer>;
  /** Stops it with `release`, or `close`. */
  keep<S extends Service>(service: S): S;
  /** Stops what a test started. */
  release(): Promise<void>;
  close(): Promise<void>;
}

export async function openBench(): Promise<Bench> {
  const { rabbitmqUrl, rabbitmqManagementUrl } = testServices();
  const vhost = await createVirtualHost({ rabbitmqUrl, managementUrl: rabbitmqManagementUrl });
  const bench = await openBenchOn(vhost.url, vhost.name);
  return {
    ...bench,
    async close() {
      await bench.close();
      await vhost.drop();
    },
  };
}

/** A bench on a virtual host that exists. */
export async function openBenchOn(url: string, vhost: string): Promise<Bench> {
  const kept: Service[] = [];
  const keep = <S extends Service>(service: S): S => {
    kept.push(service);
    return service;
  };
  const release = async (): Promise<void> => {
    for (const service of kept.splice(0).reverse()) await service.stop();
  };

  const consuming = createBrokerConnection({ url, name: 'test-consume', logger });
  const publishing = createBrokerConnection({ url, name: 'test-publish', logger });
  await Promise.all([consuming.start(), publishing.start()]);
  await declareTopology(consuming, { pools: {}, retryTiers: [QUICK_TIER] });
  const publisher = createPublisher({ connection: publishing, logger, deadlineMs: 5_000 });
  await publisher.start();
  const plain = await connect(url);
  plain.on('error', () => undefined);
  const inspect = await plain.createChannel();
  inspect.on('error', () => undefined);

  return {
    url,
    vhost,
    consuming,
    publisher,
    inspect,
    async pool() {
      const pool = `p${randomUUID().slice(0, 8)}`;
      await declareTopology(consuming, { pools: { [pool]: { classes: ['standard'] } }, retryTiers: [QUICK_TIER] });
      return pool;
    },
    async consumer(queue, options) {
      const settings = { connection: consuming, retryTiers: [QUICK_TIER], ...options, publisher, logger, queue };
      const consumer = keep(createConsumer(settings));
      await consumer.start();
      return consumer;
    },
    async batchConsumer(queue, options) {
      const settings = { connection: consuming, retryTiers: [QUICK_TIER], ...options, publisher, logger, queue };
      const consumer = keep(createBatchConsumer(settings));
      await consumer.start();
      return consumer;
    },
    keep,
    release,
    async close() {
      await release();
      await publisher.stop();
      await Promise.all([publishing.stop(), consuming.stop()]);
      await plain.close().catch(() => undefined);
    },
  };
}

/** A job for the `standard` class of a pool, published to `jobs`. */
export function job(pool: string, messageId: string = randomUUID()): OutgoingMessage {
  const body = Buffer.from(JSON.stringify({ messageId }));
  return { exchange: 'jobs', routingKey: `${pool}.standard`, body, type: 'job.accepted.v1', messageId };
}

/** Takes a message out of a queue, waiting for one. */
export async function take(channel: Channel, queue: string): Promise<ConsumeMessage> {
  let tag = '';
  const message = await new Promise<ConsumeMessage>((resolve, reject) => {
    channel
      .consume(queue, (received) => received && resolve(received), { noAck: true })
      .then(({ consumerTag }) => (tag = consumerTag), reject);
  });
  await channel.cancel(tag);
  return message;
}

/** Looks again until it holds; the test's own time limit ends the wait. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** The code of the `ServiceError` a promise rejects with, or how else it ended. */
export function outcome(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'resolved',
    (error: { code?: string; message: string }) => error.code ?? error.message,
  );
}

/** A wire to the broker that can be cut: both ends see the other vanish without a word of AMQP. */
export interface Wire {
  readonly url: string;
  cut(): void;
  /** Nothing gets through any more, until it is cut: the ends wait for each other. */
  hold(): void;
  close(): Promise<void>;
}

export async function openWire(brokerUrl: string): Promise<Wire> {
  const target = new URL(brokerUrl);
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connectSocket(Number(target.port), target.hostname);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('error', () => undefined);
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(brokerUrl);
  url.port = String((server.address() as AddressInfo).port);
  url.hostname = '127.0.0.1';
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: url.href,
    cut,
    hold() {
      for (const socket of sockets) socket.unpipe();
    },
    async close() {
      const closed = once(server, 'close');
      server.close();
      cut();
      await closed;
    },
  };
}

/** A promise with its resolver. */
export function signal<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}
