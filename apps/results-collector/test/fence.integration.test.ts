import { describe, expect, it } from '@jest/globals';
import { EXCHANGES, MESSAGE_TYPES, QUEUES, type AcceptedMessage } from '@sluice/contracts';
import { eachWithBench } from './fixture.js';
import { completedMessage } from './messages.js';
import { eventually, inputTokensOf, shuffled, type Bench } from './workbench.js';

let bench: Bench;
eachWithBench((fresh) => (bench = fresh));

/** So that many facts are delivered and not recorded for a while. */
const SLOW = { SLUICE_BATCH_MAX: '3', SLUICE_BATCHES_IN_PROGRESS: '1' };

/** Jobs whose facts are all in the queue, every third of them without its end. */
async function publishJobs(count: number): Promise<{ readonly held: number; readonly used: number }> {
  const jobs = await bench.heldJobs(count);
  const isOpen = (_: AcceptedMessage, index: number): boolean => index % 3 === 0;
  const ended = jobs.filter((job, index) => !isOpen(job, index));
  const sends = [
    ...jobs.map((job) => () => bench.publish(job)),
    ...ended.map((job) => () => bench.publish(completedMessage(job))),
  ];
  await Promise.all(shuffled(sends).map((send) => send()));
  return { held: inputTokensOf(jobs.filter(isOpen)), used: inputTokensOf(ended) };
}

describe('two collectors behind a fence', () => {
  it('have recorded all that was in the queue when Redis was lost', async () => {
    const expected = await publishJobs(300);
    const keys = await bench.redis.keys(`${bench.tenantKey}:*`);
    await bench.redis.del(...keys);
    await Promise.all([1, 2].map(() => bench.collector(SLOW).lifecycle.start()));
    await bench.load();
    expect(await bench.tokens()).toEqual({ ...expected, overage: 0 });
  });

  it('have so, too, when one of them stops and another comes meanwhile', async () => {
    const first = bench.collector(SLOW).lifecycle;
    await first.start();
    const expected = await publishJobs(300);
    await bench.quota.unload(bench.tenantId);
    const another = bench.collector(SLOW).lifecycle;
    await Promise.all([bench.load(), another.start(), first.stop()]);
    expect(await bench.tokens()).toEqual({ ...expected, overage: 0 });
  });

  it('keep a tenant exact whose jobs go on while it is loaded again and again', async () => {
    await Promise.all([1, 2].map(() => bench.collector(SLOW).lifecycle.start()));
    const jobs = await bench.heldJobs(400);
    const sends = jobs.flatMap((job) => [() => bench.publish(job), () => bench.publish(completedMessage(job))]);
    const sent = Promise.all(shuffled(sends).map((send) => send()));
    for (let load = 0; load < 5; load++) await bench.load();
    await sent;
    // Jobs that were published after the last load's fence began were not in the books it read, and are loaded now.
    await bench.load();
    expect(await bench.settled()).toEqual({ held: 0, used: inputTokensOf(jobs), overage: 0 });
    expect(await bench.discrepancies()).toEqual([]);
  });
});

describe('a notice of running jobs', () => {
  it('shows in the snapshot of each until it ends', async () => {
    await bench.collector().lifecycle.start();
    const [job = bench.job(), other = bench.job()] = await bench.heldJobs(2);
    const jobs = [job, other].map(({ jobId, tenantId }) => ({ jobId, tenantId }));
    await bench.publisher.publish({
      exchange: EXCHANGES.results,
      routingKey: MESSAGE_TYPES.started,
      type: MESSAGE_TYPES.started,
      messageId: '',
      body: Buffer.from(JSON.stringify({ jobs, startedAtMs: Date.now() })),
    });
    const state = async (jobId: string) => (await bench.quota.snapshot(bench.tenantId, jobId))?.state;
    expect(
      await eventually(
        () => state(job.jobId),
        (is) => is === 'running',
      ),
    ).toBe('running');
    await bench.publish(completedMessage(job));
    const ended = await eventually(
      () => state(job.jobId),
      (is) => is === 'succeeded',
    );
    expect([ended, await state(other.jobId)]).toEqual(['succeeded', 'running']);
    expect(await bench.depth(QUEUES.dead)).toBe(0);
  });
});
