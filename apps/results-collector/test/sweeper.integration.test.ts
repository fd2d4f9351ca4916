import { describe, expect, it } from '@jest/globals';
import { QUEUES, type AcceptedMessage } from '@sluice/contracts';
import type { Store } from '@sluice/store';
import { createSettler } from '../src/settlement.js';
import { createSweeper, type Sweep } from '../src/sweeper.js';
import { eachWithBench } from './fixture.js';
import { completedMessage } from './messages.js';
import { jobIdAt, logger, type Bench } from './workbench.js';

const GRACE_MS = 60_000;
const HOLD_TTL_MS = 1_000;
/** Longer ago than the books' own grace for jobs past their deadline. */
const LONG_AGO_MS = 300_000;

let bench: Bench;
eachWithBench((fresh) => (bench = fresh));

interface SweepOptions {
  /** How far the clock of Redis is ahead of PostgreSQL's, or as if so much time had passed there, in milliseconds. */
  readonly laterMs?: number;
  readonly mayGoOn?: () => boolean;
  /** What arrives in the books while the fence passes. */
  readonly arrives?: () => Promise<void>;
  /** In place of the store's. */
  readonly expiredOpenHolds?: Store['expiredOpenHolds'];
}

/** Sweeps, and tells how often a fence was passed. */
async function sweep({ laterMs = 0, mayGoOn = () => true, arrives, ...instead }: SweepOptions = {}): Promise<
  Sweep & { readonly fences: number }
> {
  const { store, quota } = bench;
  let fences = 0;
  const sweeper = createSweeper({
    store: { ...store, ...instead },
    quota,
    settler: createSettler({ quota, onFailure: () => undefined, onOutcome: () => undefined, maxAttempts: 1, logger }),
    report: (fact) => bench.publish(fact),
    async passFence() {
      fences += 1;
      await arrives?.();
    },
    mayGoOn,
    redisNowMs: async () => Date.now() + laterMs,
    graceMs: GRACE_MS,
    logger,
  });
  return { ...(await sweeper.sweep(new AbortController().signal)), fences };
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

async function recordCompleted(job: AcceptedMessage, inputTokens = 0): Promise<void> {
  const usage = { inputTokens, outputTokens: 0, cachedTokens: 0 };
  await bench.store.recordFacts([{ type: 'completed', message: completedMessage(job, { usage }) }]);
}

const NOTHING = { expired: 0, settled: 0, dropped: 0 };
const AFTER_GRACE_MS = HOLD_TTL_MS + GRACE_MS + 1_000;

describe('the sweep', () => {
  it('reports a job that is open past its deadline as expired, which releases its hold', async () => {
    const job = overdueJob();
    await bench.hold(job);
    await recordAccepted(job);
    expect(await sweep()).toEqual({ ...NOTHING, expired: 1, fences: 1 });
    await bench.collector().lifecycle.start();
    expect(await bench.settled()).toEqual({ held: 0, used: 0, overage: 0 });
    expect(await bench.store.findJob(bench.tenantId, job.jobId)).toMatchObject({
      state: 'expired',
      error: { code: 'expired' },
    });
    expect(await bench.quota.snapshot(bench.tenantId, job.jobId)).toMatchObject({ state: 'expired' });
    expect(await sweep()).toEqual({ ...NOTHING, fences: 0 });
    expect(await bench.discrepancies()).toEqual([]);
  });

  it('tells deadlines by the clock of Redis, whatever that of PostgreSQL shows', async () => {
    const [late, later] = [overdueJob(), bench.job({ expiresAtMs: Date.now() - 1_000 })];
    await recordAccepted(late);
    await recordAccepted(later);
    expect(await sweep({ laterMs: -2 * LONG_AGO_MS })).toEqual({ ...NOTHING, fences: 0 });
    expect(await sweep()).toEqual({ ...NOTHING, expired: 1, fences: 1 });
    expect(await sweep({ laterMs: LONG_AGO_MS })).toEqual({ ...NOTHING, expired: 2, fences: 1 });
    // The books are those of all tests here.
    for (const job of [late, later]) await recordCompleted(job);
  });

  it('leaves a job alone whose end arrives while it waits for the fence', async () => {
    const job = overdueJob();
    await recordAccepted(job);
    const arrives = () => recordCompleted(job);
    expect(await sweep({ arrives })).toEqual({ ...NOTHING, fences: 1 });
    expect(await bench.depth(QUEUES.results)).toBe(0);
  });

  it('settles holds of ended jobs also when it cannot be found out which are open, and fails then', async () => {
    const job = bench.job();
    await bench.hold(job, HOLD_TTL_MS);
    await recordAccepted(job);
    await recordCompleted(job, 4);
    const expiredOpenHolds = () => Promise.reject(new Error('took too long'));
    await expect(sweep({ laterMs: AFTER_GRACE_MS, expiredOpenHolds })).rejects.toThrow('took too long');
    expect(await bench.settled()).toMatchObject({ held: 0, used: 4 });
  });

  it('settles a hold whose job has ended in the books, with the usage recorded there', async () => {
    const job = bench.job();
    await bench.hold(job, HOLD_TTL_MS);
    await recordAccepted(job);
    await recordCompleted(job, 4);
    expect(await sweep({ laterMs: AFTER_GRACE_MS })).toEqual({ ...NOTHING, settled: 1, fences: 0 });
    expect(await bench.tokens()).toEqual({ held: 0, used: 4, overage: 0 });
  });

  it('releases a hold whose job the books never heard of, but not before the grace has passed', async () => {
    const job = bench.job();
    await bench.hold(job, HOLD_TTL_MS);
    expect(await sweep({ laterMs: HOLD_TTL_MS + GRACE_MS - 1_000 })).toEqual({ ...NOTHING, fences: 0 });
    expect(await bench.tokens()).toMatchObject({ held: job.reservedTokens });
    expect(await sweep({ laterMs: AFTER_GRACE_MS })).toEqual({ ...NOTHING, dropped: 1, fences: 1 });
    expect(await bench.tokens()).toEqual({ held: 0, used: 0, overage: 0 });
    expect(await bench.quota.snapshot(bench.tenantId, job.jobId)).toBeUndefined();
  });

  it('keeps a hold whose job arrives while it waits for the fence', async () => {
    const job = bench.job();
    await bench.hold(job, HOLD_TTL_MS);
    const arrives = () => recordAccepted(job);
    expect(await sweep({ laterMs: AFTER_GRACE_MS, arrives })).toEqual({ ...NOTHING, fences: 1 });
    expect(await bench.tokens()).toMatchObject({ held: job.reservedTokens });
  });

  it('leaves the hold of a job alone that is open in the books', async () => {
    const job = bench.job();
    await bench.hold(job, HOLD_TTL_MS);
    await recordAccepted(job);
    expect(await sweep({ laterMs: AFTER_GRACE_MS })).toEqual({ ...NOTHING, fences: 0 });
    expect(await bench.tokens()).toMatchObject({ held: job.reservedTokens });
  });

  it('begins no further round once a server is away', async () => {
    await Promise.all(Array.from({ length: 10 }, overdueJob).map(recordAccepted));
    expect(await sweep({ mayGoOn: () => false })).toEqual({ ...NOTHING, fences: 0 });
  });
});

describe('a collector', () => {
  it('sweeps by itself, however many jobs there are, beside another one', async () => {
    const overdue = Array.from({ length: 700 }, overdueJob);
    const unknown = Array.from({ length: 20 }, () => bench.job());
    await Promise.all([
      ...overdue.slice(0, 50).map((job) => bench.hold(job)),
      ...unknown.map((job) => bench.hold(job, 1)),
    ]);
    await bench.store.recordFacts(overdue.map(({ input: _input, ...message }) => ({ type: 'accepted', message })));
    const collectors = [1, 2].map(() => bench.collector({ SLUICE_SWEEP_INTERVAL: '20ms' }).lifecycle);
    await Promise.all(collectors.map((lifecycle) => lifecycle.start()));
    expect(await bench.ledgerWith(1_400)).toEqual({ reserves: 700, terminals: 700, entries: 1_400, tokens: 0 });
    expect(await bench.settled()).toEqual({ held: 0, used: 0, overage: 0 });
    expect(await bench.discrepancies()).toEqual([]);
  });

  it('lets usage that waits in the queue come before the sweep, however late', async () => {
    const jobs = Array.from({ length: 40 }, overdueJob);
    await Promise.all(jobs.map((job) => bench.hold(job)));
    await Promise.all(jobs.map(recordAccepted));
    for (const job of jobs) await bench.publish(completedMessage(job, { finishedAtMs: Date.now() - LONG_AGO_MS }));
    const settings = { SLUICE_SWEEP_INTERVAL: '5ms', SLUICE_BATCH_MAX: '2', SLUICE_BATCHES_IN_PROGRESS: '1' };
    for (const collector of [1, 2].map(() => bench.collector(settings))) await collector.lifecycle.start();
    expect(await bench.settled()).toEqual({ held: 0, used: 400, overage: 0 });
    expect(await bench.ledger()).toEqual({ reserves: 40, terminals: 40, entries: 80, tokens: 400 });
  });
});
