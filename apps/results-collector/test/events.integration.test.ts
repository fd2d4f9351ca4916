import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createBrokerConnection, createInbox, type BrokerConnection, type Inbox } from '@sluice/broker';
import { cloudEventSchema, EXCHANGES, type CloudEvent } from '@sluice/contracts';
import { syncPlans } from '@sluice/store';
import { eachWithBench } from './fixture.js';
import { NANO_USD_PER_TOKEN } from './limits.js';
import { completedMessage } from './messages.js';
import { eventually, logger, type Bench } from './workbench.js';

let bench: Bench;
let connection: BrokerConnection;
let inbox: Inbox;
let heard: { readonly routingKey: string; readonly contentType: string; readonly event: CloudEvent }[];

afterEach(async () => {
  await inbox.stop();
  await connection.stop();
});
eachWithBench((fresh) => (bench = fresh));
beforeEach(async () => {
  connection = createBrokerConnection({ url: bench.environment['SLUICE_RABBITMQ_URL'] ?? '', name: 'test', logger });
  await connection.start();
  heard = [];
  const queue = `listener.${bench.tenantId}`;
  inbox = createInbox({
    ...{ connection, queue, logger },
    onMessage({ body, routingKey, contentType }) {
      heard.push({ routingKey, contentType, event: cloudEventSchema.parse(JSON.parse(body.toString())) });
    },
  });
  await inbox.start();
});

/** Listens as another service does: everything of the bench's tenant. */
async function listen(): Promise<void> {
  const channel = await (await connection.open(AbortSignal.timeout(5_000))).createChannel();
  await channel.bindQueue(`listener.${bench.tenantId}`, EXCHANGES.events, `*.*.${bench.tenantId}`);
  await channel.close();
}

function hear(count: number): Promise<unknown> {
  return eventually(
    async () => heard.length,
    (length) => length >= count,
  );
}

describe('events of jobs', () => {
  it('tell the end of each job with what it is billed, before its fact is acknowledged', async () => {
    await listen();
    await bench.collector().lifecycle.start();
    const job = bench.job();
    await bench.hold(job);
    await bench.publish(job);
    await bench.publish(completedMessage(job));
    await bench.settled();
    await hear(1);
    expect(heard).toMatchObject([
      {
        routingKey: `job.succeeded.${bench.tenantId}`,
        contentType: 'application/cloudevents+json',
        event: {
          id: `${job.jobId}.succeeded`,
          type: 'sluice.job.succeeded.v1',
          data: { jobId: job.jobId, state: 'succeeded', amountNanoUsd: String(10 * NANO_USD_PER_TOKEN) },
        },
      },
    ]);
  });

  it('have the same id when a fact comes again, and tell nothing of a fact that lost', async () => {
    await listen();
    await bench
      .collector({ SLUICE_EVENTS: 'all', SLUICE_BATCH_MAX: '1', SLUICE_BATCHES_IN_PROGRESS: '1' })
      .lifecycle.start();
    const job = bench.job();
    await bench.hold(job);
    await bench.publish(job);
    await bench.publish(completedMessage(job));
    await bench.settled();
    await bench.publish(completedMessage(job, { state: 'canceled' }));
    await bench.publish(completedMessage(job));
    await hear(3);
    const ids = heard.map(({ event }) => event.id);
    expect(ids).toEqual([`${job.jobId}.queued`, `${job.jobId}.succeeded`, `${job.jobId}.succeeded`]);
  });

  it('are published to nobody without harm, and not at all when switched off', async () => {
    const jobs = await bench.heldJobs(5);
    const collector = bench.collector({ SLUICE_OPS_PORT: '0' });
    await collector.lifecycle.start();
    for (const job of jobs) await bench.publish(completedMessage(job));
    await bench.settled();
    const metrics = await (await fetch(`http://127.0.0.1:${collector.opsPort ?? 0}/metrics`)).text();
    expect(metrics).toContain('sluice_events_published_total{type="sluice.job.succeeded.v1"} 5');
    expect(metrics).toContain('sluice_settlements_total{outcome="settled"} 5');
    expect(metrics).toContain('sluice_facts_recorded_total{type="completed"} 5');
    await collector.lifecycle.stop();

    await listen();
    await bench.collector({ SLUICE_EVENTS: 'none' }).lifecycle.start();
    const [quiet = bench.job()] = await bench.heldJobs(1);
    await bench.publish(completedMessage(quiet));
    await bench.settled();
    expect(heard).toEqual([]);
  });
});

describe('alerts on quotas', () => {
  it('have one id for each threshold, however many collectors tell them, and are not told for ever', async () => {
    await listen();
    const plan = {
      limits: { tokensPerMonth: { max: 100, soft: false, alertAtPercent: [50, 100] } },
      ...{ perApiKey: {}, perModel: {}, estimate: 'exact' as const },
    };
    await syncPlans({ url: bench.environment['SLUICE_POSTGRES_URL'] ?? '', plans: { test: plan }, logger });
    const settings = { SLUICE_ALERT_INTERVAL: '50ms', SLUICE_EVENTS: 'none' };
    const collectors = [1, 2].map(() => bench.collector(settings).lifecycle);
    await Promise.all(collectors.map((lifecycle) => lifecycle.start()));
    const used = async (inputTokens: number): Promise<void> => {
      const job = bench.job({ inputTokens, reservedTokens: inputTokens });
      await bench.hold(job);
      await bench.publish(job);
      await bench.publish(completedMessage(job));
    };
    const told = () => new Map(heard.map(({ event }) => [event.id, event]));
    const hearDistinct = (count: number) =>
      eventually(
        async () => told().size,
        (size) => size === count,
      );
    await used(60);
    await hearDistinct(1);
    await used(50);
    await hearDistinct(2);
    await eventually(
      () => bench.store.unsentAlerts(10),
      ({ length }) => length === 0,
    );
    expect(await bench.store.unsentAlerts(10)).toEqual([]);
    expect([...told().values()]).toMatchObject([
      { type: 'sluice.limit.threshold.v1', data: { limit: 'tokens-per-month', percent: 50, used: '60', max: '100' } },
      { type: 'sluice.limit.threshold.v1', data: { limit: 'tokens-per-month', percent: 100, used: '110' } },
    ]);
  });
});
