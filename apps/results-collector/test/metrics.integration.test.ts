import { expect, it } from '@jest/globals';
import { createBrokerConnection } from '@sluice/broker';
import { QUEUES } from '@sluice/contracts';
import { createQueueDepths } from '../src/queue-depths.js';
import { eachWithBench } from './fixture.js';
import { acceptedMessage, completedMessage } from './messages.js';
import { eventually, logger, type Bench } from './workbench.js';

let bench: Bench;
eachWithBench((fresh) => (bench = fresh));

type Samples = ReadonlyMap<string, number>;

async function samplesOf(port = 0): Promise<Samples> {
  const page = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const lines = page.split('\n').filter((line) => /^\w/.test(line));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}

it('counts what is booked, how well holds fitted, and what took how long', async () => {
  const collector = bench.collector({ SLUICE_OPS_PORT: '0' });
  await collector.lifecycle.start();
  const jobs = Array.from({ length: 4 }, () => bench.job({ inputTokens: 100, reservedTokens: 100 }));
  for (const job of jobs) {
    await bench.hold(job);
    await bench.publish(job);
  }
  const [exact = bench.job(), half = bench.job(), over = bench.job(), failed = bench.job()] = jobs;
  const usage = (inputTokens: number) => ({ inputTokens, outputTokens: 0, cachedTokens: 0 });
  await bench.publish(completedMessage(exact, { reservedTokens: 100, usage: usage(100) }));
  await bench.publish(completedMessage(exact, { reservedTokens: 100, usage: usage(100) })); // the same end counts once
  await bench.publish(completedMessage(half, { reservedTokens: 100, usage: usage(50) }));
  await bench.publish(completedMessage(over, { reservedTokens: 100, usage: usage(130) }));
  await bench.publish(completedMessage(failed, { reservedTokens: 100, state: 'failed', usage: usage(0) }));
  await bench.publishRaw('unknown', 'no fact', 'nobody');
  await bench.ledgerWith(8);
  await bench.settled();
  const samples = await eventually(
    () => samplesOf(collector.opsPort),
    (now) =>
      now.get('sluice_dead_letters_total{queue="dead"}') === 1 && (now.get('sluice_partitions_ahead_months') ?? 0) > 0,
  );
  const { model } = acceptedMessage();
  const ratio = (le: string) => samples.get(`sluice_estimate_ratio_bucket{model="${model}",le="${le}"}`);
  expect(Object.fromEntries(samples)).toMatchObject({
    'sluice_facts_recorded_total{type="accepted"}': 4,
    'sluice_facts_recorded_total{type="completed"}': 4,
    'sluice_settlements_total{outcome="settled"}': 4,
    'sluice_dead_letters_total{queue="dead"}': 1,
    [`sluice_overage_tokens_total{model="${model}"}`]: 30,
    [`sluice_estimate_ratio_count{model="${model}"}`]: 3,
    'sluice_server_up{server="postgres"}': 1,
    'sluice_server_up{server="redis"}': 1,
    'sluice_server_failures_total{server="redis"}': 0,
    'sluice_broker_connected{connection="consuming"}': 1,
    'sluice_task_runs_total{outcome="done",task="partitions"}': 1,
  });
  expect([ratio('0.5'), ratio('0.9'), ratio('1'), ratio('1.5'), ratio('2')]).toEqual([0, 1, 2, 2, 3]);
  for (const name of [
    'sluice_record_duration_seconds',
    'sluice_settle_duration_seconds',
    'sluice_record_batch_facts',
  ]) {
    expect(samples.get(`${name}_count`)).toBeGreaterThan(0);
  }
  expect(samples.get('sluice_partitions_ahead_months')).toBeGreaterThanOrEqual(1);
});

it('sees how many messages wait in the queues that nobody should need', async () => {
  for (const [queue, count] of [
    [QUEUES.unrouted, 2],
    [QUEUES.dead, 1],
  ] as const) {
    for (let index = 0; index < count; index++) {
      const messageId = `${queue} ${index}`;
      await bench.publisher.publish({ exchange: '', routingKey: queue, type: '', messageId, body: Buffer.from('x') });
    }
  }
  const connection = createBrokerConnection({
    url: bench.environment['SLUICE_RABBITMQ_URL'] ?? '',
    name: 'test',
    logger,
  });
  await connection.start();
  let seen = {};
  const depths = createQueueDepths({ connection, intervalMs: 20, onDepths: (now) => void (seen = now), logger });
  await depths.start();
  const right = { unrouted: 2, dead: 1 };
  expect(
    await eventually(
      async () => seen,
      (now) => JSON.stringify(now) === JSON.stringify({ dead: 1, unrouted: 2 }),
    ),
  ).toEqual(right);
  await depths.stop();
  await connection.stop();
});
