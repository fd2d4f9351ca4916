import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { AcceptedMessage, CompletedMessage } from '@sluice/contracts';
import { acceptedMessage, jobIdAt, tinyJob } from './fixtures.js';
import { openRig, prepareModels, type ModelFixture, type Rig } from './rig.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** Here the true time is that of Redis. */
describe('a worker whose clock is wrong', () => {
  let models: ModelFixture;
  let rig: Rig;

  beforeAll(async () => {
    models = await prepareModels();
    rig = await openRig(models);
  });

  afterEach(() => rig.release());

  afterAll(async () => {
    await rig.close();
    await models.remove();
  });

  async function endOf(job: AcceptedMessage): Promise<CompletedMessage> {
    await rig.submit([job]);
    await rig.until(() => rig.completions.has(job.jobId));
    const completions = rig.completions.get(job.jobId) ?? [];
    expect(completions).toHaveLength(1);
    return completions[0] as CompletedMessage;
  }

  /** A job that was accepted an hour ago and is due `inMs` from now. */
  const oldJob = (inMs: number): AcceptedMessage => {
    const nowMs = Date.now();
    return tinyJob('old', { jobId: jobIdAt(nowMs - HOUR), expiresAtMs: nowMs + inMs });
  };

  describe.each([HOUR, -HOUR, 30 * 24 * HOUR])('by %d ms', (clockAheadMs) => {
    it('runs jobs that are not late, and dates them by the clock that minted them', async () => {
      await rig.worker({}, { clockAheadMs });
      const beganMs = Date.now();
      const job = tinyJob('abc', { expiresAtMs: beganMs + MINUTE });
      const { state, startedAtMs = NaN, finishedAtMs } = await endOf(job);
      expect(state).toBe('succeeded');
      expect(startedAtMs).toBeGreaterThanOrEqual(beganMs);
      expect(finishedAtMs).toBeGreaterThanOrEqual(startedAtMs);
      expect(finishedAtMs).toBeLessThanOrEqual(Date.now());
    });

    it('ends a late job once it was told the time, and runs one beside it that is not', async () => {
      const worker = await rig.worker({}, { clockAheadMs });
      const toldMs = Date.now();
      await rig.tellTime(toldMs);
      await worker.until(({ jobTimeMs }) => jobTimeMs >= toldMs);
      expect((await endOf(oldJob(-MINUTE))).state).toBe('expired');
      expect((await endOf(oldJob(MINUTE))).state).toBe('succeeded');
      expect((await worker.health()).detail.jobTimeMs).toBeLessThanOrEqual(Date.now());
    });

    it('ends a late job once another told it the time by its own age', async () => {
      await rig.worker({}, { clockAheadMs });
      expect((await endOf(tinyJob('new'))).state).toBe('succeeded');
      expect((await endOf(oldJob(-MINUTE))).state).toBe('expired');
    });
  });

  it('expires nothing while nobody has told it the time', async () => {
    const worker = await rig.worker();
    expect((await worker.health()).detail.jobTimeMs).toBe(0);
    expect((await endOf(oldJob(-MINUTE))).state).toBe('succeeded');
  });

  it('is not disturbed by news that it cannot read', async () => {
    const worker = await rig.worker();
    await rig.cancelRaw('{"redisNowMs":1}');
    await rig.tellTime(-1);
    const toldMs = Date.now();
    await rig.tellTime(toldMs);
    await worker.until(({ jobTimeMs }) => jobTimeMs >= toldMs);
    expect((await endOf(acceptedMessage({ model: 'tiny', expiresAtMs: toldMs - 1 }))).state).toBe('expired');
  });
});
