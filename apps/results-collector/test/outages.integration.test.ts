import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { EXCHANGES, HEADERS, QUEUES, type AcceptedMessage } from '@sluice/contracts';
import { startLocalServices, testServices, type LocalServices } from '@sluice/local-services';
import { closeRedis, connectRedis, redisReady } from '@sluice/quota';
import { delay } from '@sluice/runtime';
import { eachWithBench } from './fixture.js';
import { completedMessage, onTheWire } from './messages.js';
import { eventually, inputTokensOf, jobIdAt, logger, type Bench } from './workbench.js';

const SWEEP_GRACE_MS = 400;

/** PostgreSQL and Redis of this file's own, to be killed; RabbitMQ is that of the whole run. */
let services: LocalServices;
let directory: string;
let bench: Bench;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-outages-'));
  const { rabbitmqUrl, rabbitmqManagementUrl } = testServices();
  services = await startLocalServices({
    directory,
    environment: {
      PATH: process.env['PATH'],
      SLUICE_RABBITMQ_URL: rabbitmqUrl,
      SLUICE_RABBITMQ_MANAGEMENT_URL: rabbitmqManagementUrl,
    },
  });
});
eachWithBench(
  (fresh) => (bench = fresh),
  () => ({ postgresUrl: services.servers.postgres.url, redisUrl: services.servers.redis.url }),
);
afterAll(async () => {
  await services.stop();
  await rm(directory, { recursive: true, force: true });
});

/** Accepts and completes jobs, calling `disturb` when half of the facts are on their way. */
async function flow(jobs: readonly AcceptedMessage[], disturb: () => Promise<void>): Promise<number> {
  const half = jobs.length / 2;
  await Promise.all(jobs.map((job) => bench.publish(job)));
  await Promise.all(jobs.slice(0, half).map((job) => bench.publish(completedMessage(job))));
  await disturb();
  await Promise.all(jobs.slice(half).map((job) => bench.publish(completedMessage(job))));
  return inputTokensOf(jobs);
}

async function expectBooksOf(jobs: readonly AcceptedMessage[]): Promise<void> {
  const { length } = jobs;
  const tokens = inputTokensOf(jobs);
  const ledger = await bench.ledgerWith(2 * length);
  expect(ledger).toEqual({ reserves: length, terminals: length, entries: 2 * length, tokens });
  expect(await bench.query('SELECT * FROM dead_letters')).toEqual([]);
  expect(await bench.discrepancies()).toEqual([]);
}

async function readiness(port: number | undefined): Promise<number> {
  return (await fetch(`http://127.0.0.1:${port ?? 0}/readyz`)).status;
}

describe('when PostgreSQL is killed', () => {
  it('the collector is not ready, keeps the facts, and loses none once it is back', async () => {
    const jobs = await bench.heldJobs(100);
    const collector = bench.collector({ SLUICE_OPS_PORT: '0', SLUICE_BATCH_MAX: '10' });
    await collector.lifecycle.start();
    const ready = (): Promise<number> => readiness(collector.opsPort);
    expect(await eventually(ready, (status) => status === 200)).toBe(200);

    const sum = await flow(jobs, async () => {
      await services.servers.postgres.kill();
      expect(await eventually(ready, (status) => status === 503)).toBe(503);
    });
    await services.servers.postgres.restart();

    expect(await bench.settled()).toEqual({ held: 0, used: sum, overage: 0 });
    expect(await eventually(ready, (status) => status === 200)).toBe(200);
    await expectBooksOf(jobs);
  });

  it('a collector that is told to stop gives the facts back to the queue', async () => {
    const jobs = await bench.heldJobs(20);
    const { lifecycle } = bench.collector();
    await lifecycle.start();
    await services.servers.postgres.kill();
    const sum = await flow(jobs, async () => undefined);
    await eventually(
      () => bench.depth(QUEUES.results),
      (depth) => depth === 0,
    );
    await lifecycle.stop();
    expect(await bench.depth(QUEUES.results)).toBe(2 * jobs.length);

    // The next one starts before the server does.
    await bench.collector().lifecycle.start();
    await services.servers.postgres.restart();
    expect(await bench.settled()).toEqual({ held: 0, used: sum, overage: 0 });
    await expectBooksOf(jobs);
  });
});

describe('when PostgreSQL hangs', () => {
  it('the collector is not ready until it answers again, and loses nothing', async () => {
    const jobs = await bench.heldJobs(20);
    const collector = bench.collector({ SLUICE_OPS_PORT: '0' });
    await collector.lifecycle.start();
    const ready = (): Promise<number> => readiness(collector.opsPort);
    services.servers.postgres.pause();
    const sum = await flow(jobs, async () => {
      expect(await eventually(ready, (status) => status === 503)).toBe(503);
    }).finally(() => services.servers.postgres.resume());

    expect(await bench.settled()).toEqual({ held: 0, used: sum, overage: 0 });
    await expectBooksOf(jobs);
  });
});

describe('when Redis is killed', () => {
  it('the books go on and the holds are settled once it is back', async () => {
    const jobs = await bench.heldJobs(100);
    const collector = bench.collector({ SLUICE_BATCH_MAX: '200' });
    await collector.lifecycle.start();
    const sum = await flow(jobs, () => services.servers.redis.kill());
    // Two batches are in progress at most, so not all need to be in the books yet.
    const { reserves } = await eventually(
      () => bench.ledger(),
      (ledger) => ledger.reserves > 0,
    );
    expect(reserves).toBeGreaterThan(0);
    await services.servers.redis.restart();
    await bench.redisIsBack();
    await bench.load();

    expect(await bench.settled()).toEqual({ held: 0, used: sum, overage: 0 });
    await expectBooksOf(jobs);
    await collector.lifecycle.stop();
    expect(await bench.depth(QUEUES.results)).toBe(0);
  });

  it('facts that died are booked all the same', async () => {
    const jobs = await bench.heldJobs(12);
    const collector = bench.collector();
    await collector.lifecycle.start();
    await services.servers.redis.kill();
    for (const message of jobs.flatMap((job) => [completedMessage(job), job])) {
      await bench.publisher.publish({
        ...{ ...onTheWire(message), exchange: EXCHANGES.dead, routingKey: '', messageId: message.jobId },
        headers: { [HEADERS.source]: QUEUES.results, [HEADERS.reason]: 'delivery_limit' },
      });
    }
    // n.b. far more than the letters that are read at once: a fact that is not booked is unknown to every load.
    expect(await bench.ledgerWith(2 * jobs.length)).toMatchObject({ reserves: jobs.length, terminals: jobs.length });
    await collector.lifecycle.stop();
    await bench.query('TRUNCATE dead_letters');
    await services.servers.redis.restart();
    await bench.redisIsBack();
    await bench.collector().lifecycle.start();
    await bench.load();
    expect(await bench.settled()).toEqual({ held: 0, used: inputTokensOf(jobs), overage: 0 });
  });

  it('the sweep expires no job whose usage waits behind holds that cannot be settled', async () => {
    const ago = (ms: number): number => Date.now() - ms;
    const jobs = Array.from({ length: 40 }, () =>
      bench.job({ jobId: jobIdAt(ago(600_000)), expiresAtMs: ago(300_000) }),
    );
    await Promise.all(jobs.map((job) => bench.hold(job)));
    const collector = bench.collector({
      ...{ SLUICE_BATCH_MAX: '2', SLUICE_SWEEP_INTERVAL: '10ms', SLUICE_SWEEP_GRACE: `${SWEEP_GRACE_MS}ms` },
    });
    await collector.lifecycle.start();
    await services.servers.redis.kill();
    await Promise.all(jobs.map((job) => bench.publish(completedMessage(job))));
    await eventually(
      () => bench.ledger(),
      ({ terminals }) => terminals > 0,
    );
    await bench.store.recordFacts(jobs.map(({ input: _input, ...message }) => ({ type: 'accepted', message })));
    // Nothing tells that a sweep did not come; time for many.
    await delay(3 * SWEEP_GRACE_MS);
    expect((await bench.ledger()).terminals).toBeLessThan(jobs.length);

    await collector.lifecycle.stop();
    await services.servers.redis.restart();
    await bench.redisIsBack();
    await bench.collector().lifecycle.start();
    await bench.load();
    expect(await bench.settled()).toEqual({ held: 0, used: inputTokensOf(jobs), overage: 0 });
    await expectBooksOf(jobs);
  });
});

describe('when Redis is full', () => {
  it('the books go on and holds are settled, for that takes no room', async () => {
    const jobs = await bench.heldJobs(20);
    const sum = inputTokensOf(jobs);
    const admin = connectRedis({ url: services.servers.redis.url, name: 'admin', logger });
    await redisReady(admin, 5_000);
    await bench.collector().lifecycle.start();
    await admin.config('SET', 'maxmemory', '1');
    await flow(jobs, async () => undefined);
    const tokens = await bench.settled().finally(() => admin.config('SET', 'maxmemory', '0'));
    await closeRedis(admin);
    expect(tokens).toEqual({ held: 0, used: sum, overage: 0 });
    await expectBooksOf(jobs);
  });
});
