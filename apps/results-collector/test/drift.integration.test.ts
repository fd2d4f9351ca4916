import { describe, expect, it } from '@jest/globals';
import type { AcceptedMessage, CompletedMessage } from '@sluice/contracts';
import { createDriftCheck } from '../src/drift-check.js';
import type { TenantDrift } from '../src/drift.js';
import { eachWithBench } from './fixture.js';
import { MODEL, NANO_USD_PER_TOKEN } from './limits.js';
import { completedMessage } from './messages.js';
import { eventually, inputTokensOf, jobIdAt, logger, shuffled, type Bench } from './workbench.js';

let bench: Bench;
eachWithBench((fresh) => (bench = fresh));

/** A check that notes what it tells. */
function createCheck(nowMs = Date.now) {
  const seen: TenantDrift[] = [];
  const repaired: string[] = [];
  const driftCheck = createDriftCheck({
    ...{ store: bench.store, quota: bench.quota, redisNowMs: async () => nowMs(), logger },
    passFence: () => bench.passFence(),
    onDrift: (drifts) => seen.push(...drifts.values()),
    onRepair: (tenantId) => repaired.push(tenantId),
  });
  return { seen, repaired, check: () => driftCheck.check(new AbortController().signal) };
}

/** A clock by which what is held now has been held for a while. */
const inAMinute = (): number => Date.now() + 60_000;

async function record(...messages: (AcceptedMessage | CompletedMessage)[]): Promise<void> {
  await bench.store.recordFacts(
    messages.map((message) => {
      if ('state' in message) return { type: 'completed', message };
      const { input: _input, ...accepted } = message;
      return { type: 'accepted', message: accepted };
    }),
  );
}

/** A job of some minutes ago: old enough to be missed. */
function earlierJob(): AcceptedMessage {
  return bench.job({ jobId: jobIdAt(Date.now() - 300_000) });
}

/** A drift on each quota of `tokens` and of money, whose limits count the same jobs. */
function onEachQuota(tokens: number): readonly object[] {
  const nanoUsd = tokens * NANO_USD_PER_TOKEN;
  return [
    { scope: 'apiKey', subject: expect.any(String), limit: 'api-key:tokens-per-day', distance: tokens },
    { scope: 'model', subject: MODEL, limit: 'model:tokens-per-month', distance: tokens },
    { scope: 'tenant', subject: '', limit: 'money-per-month', distance: nanoUsd },
    { scope: 'tenant', subject: '', limit: 'tokens-per-month', distance: tokens },
  ];
}

function sorted(drift: TenantDrift | undefined): TenantDrift | undefined {
  return drift && { ...drift, limits: [...drift.limits].sort((a, b) => (a.limit < b.limit ? -1 : 1)) };
}

async function isLoaded(): Promise<boolean> {
  return (await bench.quota.inspect(bench.tenantId)) !== undefined;
}

/** Checks until it is repaired, twice that is, and loads again. Returns what was found first. */
async function repair(): Promise<TenantDrift | undefined> {
  const { check, seen, repaired } = createCheck();
  await check();
  expect([repaired, await isLoaded()]).toEqual([[], true]);
  await check();
  expect([repaired, await isLoaded()]).toEqual([[bench.tenantId], false]);
  // A tenant that is not loaded differs in nothing.
  await check();
  expect(repaired).toHaveLength(1);
  await bench.collector().lifecycle.start();
  await bench.load();
  const after = createCheck();
  await after.check();
  expect(after.seen).toEqual([]);
  return sorted(seen[0]);
}

describe('the drift check', () => {
  it('finds use that the books do not know, and repairs it', async () => {
    const job = bench.job();
    await bench.hold(job);
    const used = { tokens: 50, outputTokens: 0, nanoUsd: 50 * NANO_USD_PER_TOKEN };
    await bench.quota.settle([{ tenantId: bench.tenantId, jobId: job.jobId, state: 'succeeded', ...used }]);
    expect(await repair()).toEqual({ limits: onEachQuota(50), missing: [], leaked: [] });
    expect(await bench.tokens()).toEqual({ held: 0, used: 0, overage: 0 });
  });

  it('finds use that Redis does not know, and repairs it', async () => {
    const first = bench.job();
    await bench.hold(first);
    await bench.quota.settle([
      { tenantId: bench.tenantId, jobId: first.jobId, state: 'failed', tokens: 0, outputTokens: 0, nanoUsd: 0 },
    ]);
    const job = bench.job();
    await record(job, completedMessage(job));
    expect(await repair()).toEqual({ limits: onEachQuota(-10), missing: [], leaked: [] });
    expect(await bench.tokens()).toEqual({ held: 0, used: 10, overage: 0 });
  });

  it('finds a job that is open and not held, and holds it again', async () => {
    const job = earlierJob();
    await record(job);
    expect(await repair()).toEqual({ limits: [], missing: [job.jobId], leaked: [] });
    expect(await bench.tokens()).toEqual({ held: job.reservedTokens, used: 0, overage: 0 });
  });

  it('finds a hold whose job has ended, and releases it', async () => {
    const job = bench.job({ reservedTokens: 30 });
    await bench.hold(job);
    await record(job, completedMessage(job));
    const { check, seen } = createCheck();
    await check();
    // It may be between the books and Redis just now.
    expect(seen).toEqual([]);
    await check();
    expect(seen).toEqual([{ limits: [], missing: [], leaked: [job.jobId] }]);
    await bench.collector().lifecycle.start();
    await bench.load();
    expect(await bench.tokens()).toEqual({ held: 0, used: 10, overage: 0 });
  });

  it('finds a hold that vanished from Redis while its amounts stayed', async () => {
    const job = bench.job({ reservedTokens: 30, reservedNanoUsd: 600 });
    await bench.hold(job);
    expect(await bench.redis.hdel(`${bench.tenantKey}:quota`, `h:${job.jobId}`)).toBe(1);
    const found = await repair();
    expect(found?.limits).toEqual([
      { scope: 'apiKey', subject: job.apiKeyId, limit: 'api-key:concurrent-jobs', distance: 1 },
      { scope: 'apiKey', subject: job.apiKeyId, limit: 'api-key:tokens-per-day', distance: 30 },
      { scope: 'model', subject: MODEL, limit: 'model:tokens-in-flight', distance: 30 },
      { scope: 'model', subject: MODEL, limit: 'model:tokens-per-month', distance: 30 },
      { scope: 'tenant', subject: '', limit: 'money-per-month', distance: 600 },
      { scope: 'tenant', subject: '', limit: 'tokens-per-month', distance: 30 },
    ]);
    expect(await bench.tokens()).toEqual({ held: 0, used: 0, overage: 0 });
  });

  it('finds the hold of a job that was never published though its expiry is lost, and drops it', async () => {
    const job = bench.job({ reservedTokens: 30 });
    await bench.hold(job);
    await bench.redis.del(`${bench.tenantKey}:expiries`);
    const { check, seen, repaired } = createCheck(inAMinute);
    await check();
    expect([seen, repaired]).toEqual([[], []]);
    await check();
    expect(seen).toEqual([{ limits: [], missing: [], leaked: [job.jobId] }]);
    expect([repaired, await isLoaded()]).toEqual([[bench.tenantId], false]);
    await bench.collector().lifecycle.start();
    await bench.load();
    expect(await bench.tokens()).toEqual({ held: 0, used: 0, overage: 0 });
  });

  it('takes no hold for leaked whose job is on its way, or young, or gone in between', async () => {
    const [onItsWay, dropped] = [bench.job(), bench.job()];
    await bench.hold(onItsWay);
    const young = createCheck();
    await young.check();
    await young.check();
    // Nobody takes it out of the queue, so no fence passes.
    await bench.publish(onItsWay);
    const { check, seen, repaired } = createCheck(inAMinute);
    await bench.hold(dropped);
    for (let i = 0; i < 2; i++) await check();
    await bench.quota.dropHold({ tenantId: bench.tenantId, jobId: dropped.jobId });
    await bench.collector().lifecycle.start();
    await bench.ledgerWith(1);
    for (let i = 0; i < 3; i++) await check();
    expect([young.seen, young.repaired, seen, repaired]).toEqual([[], [], [], []]);
    expect(await bench.tokens()).toMatchObject({ held: onItsWay.reservedTokens });
  }, 60_000);

  it('looks at every other tenant when the keys of one are damaged', async () => {
    const damaged = await bench.damagedTenant();
    const job = earlierJob();
    await record(job);
    const { check, seen, repaired } = createCheck();
    await check();
    await check();
    expect(seen.map(({ missing }) => missing)).toEqual([[job.jobId], [job.jobId]]);
    // What cannot be read is discarded at once, what differs when it has been seen twice.
    expect(repaired).toEqual([damaged, bench.tenantId]);
    expect(await bench.quota.inspect(damaged)).toBeUndefined();
  });

  it('raises no alarm while two collectors settle as fast as they can', async () => {
    const collectors = [1, 2].map(() => bench.collector({ SLUICE_BATCH_MAX: '20' }).lifecycle);
    await Promise.all(collectors.map((lifecycle) => lifecycle.start()));
    const { check, seen, repaired } = createCheck();
    let done = false;
    let checks = 0;
    const checking = (async () => {
      while (!done) {
        await check();
        checks += 1;
      }
    })();
    const jobs: AcceptedMessage[] = [];
    for (let wave = 0; wave < 20; wave++) {
      const some = await bench.heldJobs(50);
      jobs.push(...some);
      const sends = some.flatMap((job) => [() => bench.publish(job), () => bench.publish(completedMessage(job))]);
      await Promise.all(shuffled(sends).map((send) => send()));
    }
    expect(await bench.settled()).toEqual({ held: 0, used: inputTokensOf(jobs), overage: 0 });
    done = true;
    await checking;
    expect(checks).toBeGreaterThan(5);
    expect([seen.flatMap(({ limits, missing }) => [...limits, ...missing]), repaired]).toEqual([[], []]);
    await check();
    expect(seen.flatMap(({ leaked }) => leaked)).toEqual([]);
  });
});

describe('a collector', () => {
  it('exports the drift, repairs it by itself, and counts that', async () => {
    const job = earlierJob();
    await record(job);
    const collector = bench.collector({ SLUICE_DRIFT_INTERVAL: '200ms', SLUICE_OPS_PORT: '0' });
    await collector.lifecycle.start();
    const metrics = async (): Promise<string> =>
      (await fetch(`http://127.0.0.1:${collector.opsPort ?? 0}/metrics`)).text();
    const missing = `sluice_quota_hold_drift{kind="missing",tenant="${bench.tenantId}"} 1`;
    expect(await eventually(metrics, (text) => text.includes(missing))).toContain(missing);
    const repaired = await eventually(metrics, (text) => text.includes('sluice_quota_repairs_total 1'));
    expect(repaired).toContain('sluice_quota_repairs_total 1');
    const loaded = await eventually(
      async () => (await bench.load(), metrics()),
      (text) => !text.includes(missing),
    );
    expect(loaded).not.toContain(missing);
    expect(await bench.tokens()).toMatchObject({ held: job.reservedTokens });
  });
});
