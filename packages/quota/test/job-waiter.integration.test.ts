import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createJobWaiter, createQuota, type JobWaiter, type Quota } from '../src/index.js';
import { logger, openRelay, openTestSpace, redisUrl } from './redis.js';

const TENANT = 'acme';
const LONG_MS = 20_000;
let space: Awaited<ReturnType<typeof openTestSpace>>;
let quota: Quota;
let waiter: JobWaiter;

beforeAll(async () => {
  space = await openTestSpace();
  quota = createQuota({ redis: space.redis, keyPrefix: space.keyPrefix, logger });
});
afterAll(() => space.close());
beforeEach(async () => {
  waiter = createJobWaiter({ url: redisUrl(), keyPrefix: space.keyPrefix, logger });
  await waiter.start();
});
afterEach(async () => {
  expect(waiter.channels).toBe(0);
  await waiter.stop();
});

const settle = (jobId: string) =>
  quota.settle([{ tenantId: TENANT, jobId, tokens: 1, nanoUsd: 0, outputTokens: 0, state: 'succeeded' }]);

/** Resolves when the waiter listens, so that what follows cannot come too early. */
function listening(jobId: string, options: { timeoutMs?: number; signal?: AbortSignal; on?: JobWaiter } = {}) {
  let ended: Promise<boolean> = Promise.resolve(false);
  const begun = new Promise<void>((resolve) => {
    ended = (options.on ?? waiter).wait(TENANT, jobId, {
      timeoutMs: options.timeoutMs ?? LONG_MS,
      ...(options.signal && { signal: options.signal }),
      check: async () => {
        resolve();
        return false;
      },
    });
  });
  return { begun, ended };
}

describe('wait', () => {
  it('ends when the job is settled, for everyone who waits for it and no one else', async () => {
    const [one, two] = [listening('job'), listening('job')];
    const other = listening('other job');
    await Promise.all([one.begun, two.begun, other.begun]);
    expect(waiter.channels).toBe(2);
    await settle('job');
    expect(await Promise.all([one.ended, two.ended])).toEqual([true, true]);
    expect(waiter.channels).toBe(1);
    await settle('other job');
    expect(await other.ended).toBe(true);
  });

  it('goes on for the others when one gives up', async () => {
    const abort = new AbortController();
    const [one, two] = [listening('job', { signal: abort.signal }), listening('job')];
    await Promise.all([one.begun, two.begun]);
    abort.abort();
    expect(await one.ended).toBe(false);
    await settle('job');
    expect(await two.ended).toBe(true);
  });

  it('ends at once when the check says that the job has ended, and unsubscribes', async () => {
    expect(await waiter.wait(TENANT, 'job', { timeoutMs: LONG_MS, check: async () => true })).toBe(true);
    const again = listening('next');
    await again.begun; // the unsubscribe was sent before this
    const [, subscribers] = await space.redis.pubsub('NUMSUB', `${space.keyPrefix}:{${TENANT}}:done:job`);
    expect(Number(subscribers)).toBe(0);
    await settle('next');
    await again.ended;
  });

  it('never misses an end between looking and listening', async () => {
    const ended = new Set<string>();
    const waits = Array.from({ length: 300 }, async (_, i) => {
      const jobId = `race-${i}`;
      const wait = waiter.wait(TENANT, jobId, { timeoutMs: LONG_MS, check: async () => ended.has(jobId) });
      if (i % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
      ended.add(jobId);
      await settle(jobId);
      return wait;
    });
    expect(await Promise.all(waits)).toEqual(waits.map(() => true));
  });

  it('ends without the job on timeout, on an aborted signal and when the waiter stops', async () => {
    expect(await waiter.wait(TENANT, 'job', { timeoutMs: 1 })).toBe(false);
    expect(await waiter.wait(TENANT, 'job', { timeoutMs: LONG_MS, signal: AbortSignal.abort() })).toBe(false);
    const open = listening('job');
    await open.begun;
    await Promise.all([waiter.stop(), waiter.stop()]);
    expect(await open.ended).toBe(false);
    expect(await waiter.wait(TENANT, 'job', { timeoutMs: LONG_MS })).toBe(false);
  });

  it('rejects when the check fails', async () => {
    const check = () => Promise.reject(new Error('no'));
    await expect(waiter.wait(TENANT, 'job', { timeoutMs: LONG_MS, check })).rejects.toThrow('no');
  });
});

describe('a lost connection', () => {
  it('is made again, and what was missed meanwhile is asked for', async () => {
    const relay = await openRelay();
    const remote = createJobWaiter({ url: relay.url, keyPrefix: space.keyPrefix, logger });
    await remote.start();
    let ended = false;
    let begun = (): void => undefined;
    const listens = new Promise<void>((resolve) => (begun = resolve));
    const wait = remote.wait(TENANT, 'missed', {
      timeoutMs: LONG_MS,
      check: async () => {
        begun();
        return ended;
      },
    });
    const later = listening('later', { on: remote });
    await Promise.all([listens, later.begun]);

    await relay.cut();
    await settle('missed');
    ended = true;
    await expect(remote.wait(TENANT, 'other', { timeoutMs: LONG_MS })).rejects.toMatchObject({
      code: 'quota_unavailable',
    });
    await relay.mend();
    expect(await wait).toBe(true);
    await settle('later');
    expect(await later.ended).toBe(true);
    await remote.stop();
    await relay.cut();
  });

  it('does not keep the waiter from stopping', async () => {
    const relay = await openRelay();
    const remote = createJobWaiter({ url: relay.url, keyPrefix: space.keyPrefix, logger });
    await remote.start();
    await relay.cut();
    await remote.stop();
    const never = createJobWaiter({ url: relay.url, keyPrefix: space.keyPrefix, logger, startTimeoutMs: 50 });
    await expect(never.start()).rejects.toMatchObject({ code: 'quota_unavailable' });
    await never.stop();
    await createJobWaiter({ url: relay.url, keyPrefix: space.keyPrefix, logger }).stop();
  });
});
