import { describe, expect, it } from '@jest/globals';
import { askedOf, MESSAGE_TYPES, QUEUES, type AcceptedMessage } from '@sluice/contracts';
import { eachWithBench } from './fixture.js';
import { completedMessage } from './messages.js';
import { eventually, inputTokensOf, shuffled, type Bench } from './workbench.js';

let bench: Bench;
eachWithBench((fresh) => (bench = fresh));

/** One reserve and one terminal entry of each job, and nothing else. */
async function expectLedgerOf(jobs: readonly AcceptedMessage[], tokens: number): Promise<void> {
  const { length } = jobs;
  const ledger = await bench.ledgerWith(2 * length);
  expect(ledger).toEqual({ reserves: length, terminals: length, entries: 2 * length, tokens });
  expect(await bench.discrepancies()).toEqual([]);
}

describe('the collector', () => {
  it('takes an accepted and a completed job into the books, settles the hold and notes its end', async () => {
    const { lifecycle } = bench.collector();
    await lifecycle.start();
    const job = bench.job({ maxOutputTokens: 5, reservedTokens: 15 });
    await bench.hold(job);
    expect(await bench.tokens()).toMatchObject({ held: 15, used: 0 });
    await bench.publish(job);
    await bench.publish(completedMessage(job));

    expect(await bench.settled()).toEqual({ held: 0, used: 10, overage: 0 });
    expect(await bench.store.findJob(bench.tenantId, job.jobId)).toMatchObject({
      state: 'succeeded',
      modelVersion: '1',
    });
    expect(await bench.quota.snapshot(bench.tenantId, job.jobId)).toMatchObject({ state: 'succeeded' });
    await lifecycle.stop();
    expect(await bench.depth(QUEUES.results)).toBe(0);
  });

  it('keeps one ledger when facts are duplicated, reordered and split over batches', async () => {
    const jobs = await bench.heldJobs(60);
    const sum = inputTokensOf(jobs);
    const sends = jobs.flatMap((job) => {
      const accept = () => bench.publish(job);
      const complete = () => bench.publish(completedMessage(job));
      return [accept, complete, accept, complete, complete];
    });
    const { lifecycle } = bench.collector({ SLUICE_BATCH_MAX: '7', SLUICE_BATCH_LINGER: '1' });
    await lifecycle.start();
    await Promise.all(shuffled(sends).map((send) => send()));

    expect(await bench.settled()).toEqual({ held: 0, used: sum, overage: 0 });
    await lifecycle.stop();
    await expectLedgerOf(jobs, sum);
  });

  it('books a job whose accepted fact a broker lost when it died, from what the end of the job brings along', async () => {
    const { lifecycle } = bench.collector();
    await lifecycle.start();
    const job = bench.job({ metadata: { team: 'search' }, idempotency: { keyHash: 'k', fingerprint: 'f' } });
    await bench.hold(job);
    const { reservedTokens } = job;
    await bench.publish(completedMessage(job, { reservedTokens, accepted: askedOf(job) }));

    expect(await bench.settled()).toEqual({ held: 0, used: 10, overage: 0 });
    expect(await bench.store.findJob(bench.tenantId, job.jobId)).toMatchObject({
      ...{ state: 'succeeded', inputTokens: 10, expiresAtMs: job.expiresAtMs, metadata: { team: 'search' } },
    });
    await bench.publish(job);
    await lifecycle.stop();
    await expectLedgerOf([job], 10);
  });

  it('shares a queue with another collector', async () => {
    const jobs = await bench.heldJobs(200);
    const sum = inputTokensOf(jobs);
    const collectors = [1, 2].map(() => bench.collector({ SLUICE_BATCH_MAX: '20' }).lifecycle);
    await Promise.all(collectors.map((lifecycle) => lifecycle.start()));
    const sends = jobs.flatMap((job) => {
      const complete = () => bench.publish(completedMessage(job));
      return [() => bench.publish(job), complete, complete];
    });
    await Promise.all(shuffled(sends).map((send) => send()));

    expect(await bench.settled()).toEqual({ held: 0, used: sum, overage: 0 });
    await Promise.all(collectors.map((lifecycle) => lifecycle.stop()));
    expect(await bench.depth(QUEUES.results)).toBe(0);
    await expectLedgerOf(jobs, sum);
  });

  it('settles with the usage in the ledger when two results of a job differ', async () => {
    const jobs = await bench.heldJobs(20);
    const { lifecycle } = bench.collector({ SLUICE_BATCH_MAX: '3' });
    await lifecycle.start();
    const sends = jobs.flatMap((job) =>
      [1, 2, 3].map((inputTokens) => () => {
        const usage = { inputTokens, outputTokens: 0, cachedTokens: 0 };
        return bench.publish(completedMessage(job, { usage }));
      }),
    );
    await Promise.all([...jobs.map((job) => bench.publish(job)), ...shuffled(sends).map((send) => send())]);

    const { used } = await bench.settled();
    await lifecycle.stop();
    await expectLedgerOf(jobs, used);
  });

  it('settles a job that was recorded before it was settled, with the recorded usage', async () => {
    const [job = bench.job()] = await bench.heldJobs(1);
    const { input: _input, ...accepted } = job;
    // What a collector leaves behind that dies between COMMIT and settlement.
    await bench.store.recordFacts([
      { type: 'accepted', message: accepted },
      {
        type: 'completed',
        message: completedMessage(job, { usage: { inputTokens: 3, outputTokens: 0, cachedTokens: 0 } }),
      },
    ]);
    const { lifecycle } = bench.collector();
    await lifecycle.start();
    await bench.publish(completedMessage(job));
    expect(await bench.settled()).toEqual({ held: 0, used: 3, overage: 0 });
  });

  it('moves a malformed and an unrecordable fact to the dead letters and takes the rest of the batch', async () => {
    const jobs = await bench.heldJobs(9);
    const [lying = bench.job(), ...honest] = jobs;
    const sum = inputTokensOf(honest);
    await bench.publishRaw(MESSAGE_TYPES.completed, '{"jobId":', 'broken');
    await bench.publishRaw('job.unknown.v9', '{}', 'unknown');
    const cachedTokens = lying.inputTokens + 1;
    await bench.publish(
      completedMessage(lying, { usage: { inputTokens: lying.inputTokens, outputTokens: 0, cachedTokens } }),
    );
    await Promise.all(honest.flatMap((job) => [bench.publish(job), bench.publish(completedMessage(job))]));
    const { lifecycle } = bench.collector();
    await lifecycle.start();

    const tokens = await eventually(
      () => bench.tokens(),
      ({ used }) => used === sum,
    );
    expect(tokens).toEqual({ held: lying.reservedTokens, used: sum, overage: 0 });
    const letters = await eventually(
      () => bench.query('SELECT message_id, reason, job_id, queue FROM dead_letters ORDER BY reason'),
      ({ length }) => length >= 3,
    );
    expect(letters).toEqual([
      { message_id: 'broken', reason: 'malformed_message: body: is not valid JSON', job_id: null, queue: 'dead' },
      {
        message_id: 'unknown',
        reason: 'malformed_message: type: is not a known message type',
        job_id: null,
        queue: 'dead',
      },
      { message_id: lying.jobId, reason: 'unrecordable: usage is out of range', job_id: lying.jobId, queue: 'dead' },
    ]);
    await lifecycle.stop();
    await expectLedgerOf(honest, sum);
    for (const queue of Object.values(QUEUES)) expect(await bench.depth(queue)).toBe(0);
  });

  it('bills what was used above the hold as overage', async () => {
    const [job = bench.job()] = await bench.heldJobs(1);
    const { lifecycle } = bench.collector();
    await lifecycle.start();
    await bench.publish(job);
    const usage = { inputTokens: job.inputTokens, outputTokens: 7, cachedTokens: 0 };
    await bench.publish(completedMessage(job, { usage }));
    expect(await bench.settled()).toEqual({ held: 0, used: job.inputTokens + 7, overage: 7 });
  });

  it('settles for every other tenant when the keys of one are damaged', async () => {
    const damaged = bench.job({ tenantId: await bench.damagedTenant() });
    const jobs = await bench.heldJobs(5);
    for (const job of [damaged, ...jobs]) {
      await bench.publish(job);
      await bench.publish(completedMessage(job));
    }
    const { lifecycle } = bench.collector();
    await lifecycle.start();
    expect(await bench.settled()).toEqual({ held: 0, used: inputTokensOf(jobs), overage: 0 });
    await lifecycle.stop();
    expect(await bench.depth(QUEUES.results)).toBe(0);
    expect(await bench.store.findJob(damaged.tenantId, damaged.jobId)).toMatchObject({ state: 'succeeded' });
  });
});
