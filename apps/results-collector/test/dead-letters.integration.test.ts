import { EventEmitter, once } from 'node:events';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { createBrokerConnection, createConsumer, retry } from '@sluice/broker';
import { EXCHANGES, HEADERS, MESSAGE_TYPES, QUEUES, workQueue, type AcceptedMessage } from '@sluice/contracts';
import { eachWithBench } from './fixture.js';
import { completedMessage, onTheWire } from './messages.js';
import { eventually, logger, POOL, type Bench } from './workbench.js';

let bench: Bench;
let job: AcceptedMessage;
eachWithBench((fresh) => (bench = fresh));
beforeEach(async () => {
  await bench.query('TRUNCATE dead_letters');
  job = bench.job();
  await bench.hold(job);
  await bench.collector().lifecycle.start();
});

async function bury(message: AcceptedMessage, reason: string): Promise<void> {
  await bench.publisher.publish({
    ...onTheWire(message),
    exchange: EXCHANGES.dead,
    routingKey: `${POOL}.standard`,
    messageId: message.jobId,
    headers: { [HEADERS.reason]: reason, [HEADERS.source]: workQueue(POOL, 'standard'), [HEADERS.attempt]: 5 },
  });
}

/** Takes the next fact out of `results` and keeps it unrecorded, as a slow collector does, until it is stopped. */
async function takeFact(): Promise<{ readonly taken: Promise<unknown>; stop(): Promise<void> }> {
  const url = bench.environment['SLUICE_RABBITMQ_URL'] ?? '';
  const connection = createBrokerConnection({ url, name: 'slow collector', logger });
  await connection.start();
  const news = new EventEmitter();
  const taken = once(news, 'taken');
  const stopped = once(news, 'stopped');
  const consumer = createConsumer({
    ...{ connection, publisher: bench.publisher, queue: QUEUES.results, prefetch: 1, logger },
    async handler() {
      news.emit('taken');
      await stopped;
      return retry(1);
    },
  });
  await consumer.start();
  return {
    taken,
    async stop() {
      const gone = consumer.stop();
      news.emit('stopped');
      await gone;
      await connection.stop();
    },
  };
}

async function letters(): Promise<readonly Record<string, unknown>[]> {
  return bench.query('SELECT queue, reason, attempts, type, message_id, job_id, payload_bytes FROM dead_letters');
}

describe('a dead job', () => {
  it('has failed, its hold is released and the message is kept', async () => {
    await bury(job, 'inference_crashed: the process ended with SIGSEGV');
    expect(await bench.settled()).toEqual({ held: 0, used: 0, overage: 0 });
    expect(await bench.store.findJob(bench.tenantId, job.jobId)).toMatchObject({
      state: 'failed',
      error: { code: 'inference_crashed', detail: 'the process ended with SIGSEGV' },
      usage: { inputTokens: 0, outputTokens: 0, cachedTokens: 0 },
      attempt: 5,
    });
    const { body } = onTheWire(job);
    expect(await letters()).toEqual([
      {
        queue: 'dead',
        reason: 'inference_crashed: the process ended with SIGSEGV',
        attempts: 5,
        type: MESSAGE_TYPES.accepted,
        message_id: job.jobId,
        job_id: job.jobId,
        payload_bytes: body.length,
      },
    ]);
    expect(await bench.discrepancies()).toEqual([]);
  });

  it('that succeeded elsewhere stays a success, billed once', async () => {
    await bench.publish(completedMessage(job));
    await bench.settled();
    await bury(job, 'attempts_exhausted');
    await eventually(letters, ({ length }) => length === 1);
    // The letter is kept first, then what it says of the job is recorded: the accepted fact, and an end that is too late.
    const record = await eventually(
      () => bench.store.findJob(bench.tenantId, job.jobId),
      (found) => found !== undefined,
    );
    expect(record).toMatchObject({ state: 'succeeded' });
    expect(await bench.tokens()).toEqual({ held: 0, used: job.inputTokens, overage: 0 });
  });

  it('does not fail when its success is with a slow collector', async () => {
    await bench.endCollectors();
    const slow = await takeFact();
    await bench.publish(completedMessage(job));
    await slow.taken;
    await bench.collector().lifecycle.start();
    await bury(job, 'delivery_limit');
    await bench.ledgerWith(1);
    // Whatever was reported by now would be ahead of these.
    const others = await bench.heldJobs(2);
    for (const other of others) await bench.publish(completedMessage(other));
    await bench.ledgerWith(3);
    await slow.stop();

    expect(await bench.settled()).toMatchObject({ held: 0 });
    expect(await bench.store.findJob(bench.tenantId, job.jobId)).toMatchObject({
      state: 'succeeded',
      usage: { inputTokens: job.inputTokens },
    });
    expect(await letters()).toMatchObject([{ job_id: job.jobId, reason: 'delivery_limit' }]);
  });

  it('has failed also when the collector that found it was stopped before it could say so', async () => {
    await bench.endCollectors();
    const slow = await takeFact();
    await bench.publish(job);
    await slow.taken;
    const first = bench.collector({ SLUICE_FENCE_TIMEOUT: '300ms' });
    await first.lifecycle.start();
    await bury(job, 'attempts_exhausted');
    await eventually(letters, ({ length }) => length === 1);
    await first.lifecycle.stop();
    await slow.stop();
    expect(await bench.ledger()).toMatchObject({ terminals: 0 });

    await bench.collector().lifecycle.start();
    expect(await bench.settled()).toEqual({ held: 0, used: 0, overage: 0 });
    expect(await bench.store.findJob(bench.tenantId, job.jobId)).toMatchObject({ state: 'failed' });
    expect(await letters()).toHaveLength(1);
  });

  it('is kept once when it is delivered twice', async () => {
    await bury(job, 'attempts_exhausted');
    await eventually(letters, ({ length }) => length === 1);
    await bury(job, 'attempts_exhausted');
    const other = bench.job();
    await bury(other, 'attempts_exhausted');
    const kept = await eventually(letters, (rows) => rows.some((row) => row['job_id'] === other.jobId));
    expect(kept.map((row) => row['job_id']).sort()).toEqual([job.jobId, other.jobId].sort());
  });
});

describe('a job of a pool that has no queue', () => {
  it('has failed as unroutable and its hold is released', async () => {
    await bench.publisher.publish({
      ...onTheWire(job),
      exchange: EXCHANGES.submissions,
      routingKey: 'nowhere.standard',
      messageId: job.jobId,
    });
    expect(await bench.settled()).toEqual({ held: 0, used: 0, overage: 0 });
    expect(await bench.store.findJob(bench.tenantId, job.jobId)).toMatchObject({
      state: 'failed',
      error: { code: 'unroutable' },
    });
    expect(await letters()).toMatchObject([{ queue: 'unrouted', reason: 'unroutable', job_id: job.jobId }]);
  });
});

describe('an unreadable message', () => {
  it('is kept whole and nothing else happens', async () => {
    const body = Buffer.alloc(100_000, 'x');
    await bench.publisher.publish({
      exchange: EXCHANGES.dead,
      routingKey: '',
      type: 'a\u0000b',
      messageId: '',
      headers: { strange: '\u0000' },
      body,
    });
    await eventually(letters, ({ length }) => length === 1);
    expect(await letters()).toMatchObject([{ reason: 'unknown', job_id: null, payload_bytes: 100_000, attempts: 1 }]);
    const [{ length } = {}] = await bench.query('SELECT octet_length(payload) AS length FROM dead_letters');
    expect(length).toBe(100_000);
    expect(await bench.tokens()).toMatchObject({ held: job.reservedTokens });
  });
});

describe('a submission of another service', () => {
  async function buryIngested(headers: Record<string, string>): Promise<void> {
    await bench.publisher.publish({
      ...onTheWire(job),
      exchange: EXCHANGES.dead,
      routingKey: '',
      messageId: job.jobId,
      headers,
    });
  }

  it('is kept with the tenant it was for and ends no job, whatever it says of itself', async () => {
    await bench.store.upsertProducer({ userId: 'billing', tenantId: bench.tenantId });
    await buryIngested({
      [HEADERS.source]: QUEUES.ingest,
      [HEADERS.reason]: 'malformed_message',
      'x-user-id': 'billing',
    });
    await eventually(letters, ({ length }) => length === 1);
    const rows = await bench.query('SELECT tenant_id, reason, job_id, message_id FROM dead_letters');
    expect(rows).toEqual([
      { tenant_id: bench.tenantId, reason: 'malformed_message', job_id: null, message_id: job.jobId },
    ]);
    expect(await bench.tokens()).toMatchObject({ held: job.reservedTokens, used: 0 });
    expect(await bench.ledger()).toMatchObject({ entries: 0 });
  });

  it('of a user that nobody knows is kept without a tenant', async () => {
    await buryIngested({ [HEADERS.source]: QUEUES.ingest, 'x-user-id': 'stranger' });
    await eventually(letters, ({ length }) => length === 1);
    expect(await bench.query('SELECT tenant_id FROM dead_letters')).toEqual([{ tenant_id: null }]);
  });
});

describe('a fact that was delivered too often', () => {
  it('is still taken into the books', async () => {
    for (const message of [job, completedMessage(job)]) {
      await bench.publisher.publish({
        ...onTheWire(message),
        exchange: EXCHANGES.dead,
        routingKey: '',
        messageId: job.jobId,
        headers: { [HEADERS.source]: QUEUES.results, [HEADERS.reason]: 'delivery_limit' },
      });
    }
    expect(await bench.settled()).toEqual({ held: 0, used: job.inputTokens, overage: 0 });
    await eventually(
      () => bench.store.findJob(bench.tenantId, job.jobId),
      (record) => record?.inputTokens === job.inputTokens,
    );
    expect(await bench.store.findJob(bench.tenantId, job.jobId)).toMatchObject({ state: 'succeeded' });
    expect(await bench.discrepancies()).toEqual([]);
  });
});
