import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type AcceptedMessage } from '@sluice/contracts';
import { createAccounting } from '../src/accounting.js';
import { createRecorder } from '../src/recorder.js';
import { createSettler } from '../src/settlement.js';
import { createSweeper, type Sweep } from '../src/sweeper.js';
import { completedMessage } from './messages.js';
import { jobIdAt, logger, openWorkbench, type Bench, type Workbench } from './workbench.js';

const GRACE_MS = 60_000;
const HOLD_TTL_MS = 1_000;
/** Longer ago than the books' own grace for jobs past their deadline. */
const LONG_AGO_MS = 300_000;

let workbench: Workbench;
let bench: Bench;
beforeAll(async () => {
  workbench = await openWorkbench();
});
afterAll(async () => {
  await workbench.close();
});
beforeEach(async () => {
  bench = await workbench.begin();
});
afterEach(async () => {
  await workbench.end();
});

/** Sweeps as if `laterMs` had passed in Redis. */
function sweep(laterMs: number, mayGoOn = (): boolean => true): Promise<Sweep> {
  const { store, quota } = bench;
  const onFailure = (): void => undefined;
  const settler = createSettler({ quota, onFailure, logger });
  const sweeper = createSweeper({
    store,
    quota,
    settler,
    accounting: createAccounting({ recorder: createRecorder({ store, onFailure, logger }), settler }),
    mayGoOn,
    redisNowMs: async () => Date.now() + laterMs,
    graceMs: GRACE_MS,
    now: Date.now,
    logger,
  });
  return sweeper.sweep(new AbortController().signal);
}

/** A job that was accepted some minutes ago and should have ended long since. */
function overdueJob(): AcceptedMessage {
  const jobId = jobIdAt(Date.now() - 2 * LONG_AGO_MS);
  return bench.job({ jobId, expiresAtMs: Date.now() - LONG_AGO_MS });
}

async function recordAccepted(job: AcceptedMessage): Promise<void> {
  const { input: _input, ...message } = job;
  await bench.store.recordFacts([{ type: 'accepted', message }]);
}

const AFTER_GRACE_MS = HOLD_TTL_MS + GRACE_MS + 1_000;

describe('the sweep', () => {
  it('expires a job that is open past its deadline and releases its hold', async () => {
    const job = overdueJob();
    await bench.hold(job);
    await recordAccepted(job);
    expect(await sweep(0)).toEqual({ expired: 1, settled: 0, dropped: 0 });
    expect(await bench.tokens()).toEqual({ held: 0, used: 0, overage: 0 });
    expect(await bench.store.findJob(bench.tenantId, job.jobId)).toMatchObject({
      state: 'expired',
      error: { code: 'expired' },
    });
    expect(await bench.quota.snapshot(bench.tenantId, job.jobId)).toMatchObject({ state: 'expired' });
    expect(await sweep(0)).toEqual({ expired: 0, settled: 0, dropped: 0 });
    expect(await bench.discrepancies()).toEqual([]);
  });

  it('settles a hold whose job has ended in the books, with the usage recorded there', async () => {
    const job = bench.job();
    await bench.hold(job, HOLD_TTL_MS);
    await recordAccepted(job);
    const usage = { inputTokens: 4, outputTokens: 0, cachedTokens: 0 };
    await bench.store.recordFacts([{ type: 'completed', message: completedMessage(job, { usage }) }]);
    expect(await sweep(AFTER_GRACE_MS)).toEqual({ expired: 0, settled: 1, dropped: 0 });
    expect(await bench.tokens()).toEqual({ held: 0, used: 4, overage: 0 });
  });

  it('releases a hold whose job the books never heard of, but not before the grace has passed', async () => {
    const job = bench.job();
    await bench.hold(job, HOLD_TTL_MS);
    expect(await sweep(HOLD_TTL_MS + GRACE_MS - 1_000)).toEqual({ expired: 0, settled: 0, dropped: 0 });
    expect(await bench.tokens()).toMatchObject({ held: job.reservedTokens });
    expect(await sweep(AFTER_GRACE_MS)).toEqual({ expired: 0, settled: 0, dropped: 1 });
    expect(await bench.tokens()).toEqual({ held: 0, used: 0, overage: 0 });
    expect(await bench.quota.snapshot(bench.tenantId, job.jobId)).toBeUndefined();
  });

  it('leaves the hold of a job alone that is open in the books', async () => {
    const job = bench.job();
    await bench.hold(job, HOLD_TTL_MS);
    await recordAccepted(job);
    expect(await sweep(AFTER_GRACE_MS)).toEqual({ expired: 0, settled: 0, dropped: 0 });
    expect(await bench.tokens()).toMatchObject({ held: job.reservedTokens });
  });

  it('begins no further round once facts may be on their way', async () => {
    const jobs = Array.from({ length: 600 }, overdueJob);
    await bench.store.recordFacts(jobs.map(({ input: _input, ...message }) => ({ type: 'accepted', message })));
    const answers = [true, false, false];
    expect(await sweep(0, () => answers.shift() ?? false)).toEqual({ expired: 500, settled: 0, dropped: 0 });
    expect(await sweep(0, () => false)).toEqual({ expired: 0, settled: 0, dropped: 0 });
    expect(await sweep(0)).toEqual({ expired: 100, settled: 0, dropped: 0 });
  });

  it('may run several times at once', async () => {
    const overdue = Array.from({ length: 30 }, overdueJob);
    const unknown = Array.from({ length: 30 }, () => bench.job());
    await Promise.all([
      ...overdue.map((job) => bench.hold(job)),
      ...unknown.map((job) => bench.hold(job, HOLD_TTL_MS)),
    ]);
    await Promise.all(overdue.map(recordAccepted));
    await Promise.all([sweep(AFTER_GRACE_MS), sweep(AFTER_GRACE_MS), sweep(AFTER_GRACE_MS)]);
    expect(await bench.tokens()).toEqual({ held: 0, used: 0, overage: 0 });
    expect(await bench.ledger()).toEqual({ reserves: 30, terminals: 30, entries: 60, tokens: 0 });
    expect(await bench.discrepancies()).toEqual([]);
  });
});

describe('a collector', () => {
  it('sweeps by itself', async () => {
    const job = overdueJob();
    await bench.hold(job);
    await recordAccepted(job);
    await bench.collector({ SLUICE_SWEEP_INTERVAL: '20ms' }).lifecycle.start();
    expect(await bench.settled()).toEqual({ held: 0, used: 0, overage: 0 });
  });

  it('lets usage that waits in the queue come before the sweep, however late', async () => {
    const jobs = Array.from({ length: 40 }, overdueJob);
    await Promise.all(jobs.map((job) => bench.hold(job)));
    await Promise.all(jobs.map(recordAccepted));
    for (const job of jobs) await bench.publish(completedMessage(job, { finishedAtMs: Date.now() - LONG_AGO_MS }));
    await bench
      .collector({ SLUICE_SWEEP_INTERVAL: '5ms', SLUICE_SWEEP_GRACE: '500ms', SLUICE_BATCH_MAX: '2' })
      .lifecycle.start();
    expect(await bench.settled()).toEqual({ held: 0, used: 400, overage: 0 });
    expect(await bench.ledger()).toEqual({ reserves: 40, terminals: 40, entries: 80, tokens: 400 });
  });
});
