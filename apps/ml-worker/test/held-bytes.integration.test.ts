import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { tinyJob } from './fixtures.js';
import { openRig, prepareModels, type ModelFixture, type Rig } from './rig.js';

/** Some 300 kB each, so three of them are less than a mebibyte. */
const jobs = Array.from({ length: 8 }, () => tinyJob(new Array<string>(300).fill('x'.repeat(1_000))));

describe('a worker with large jobs', () => {
  let models: ModelFixture;
  let rig: Rig;

  beforeAll(async () => {
    models = await prepareModels();
    rig = await openRig(models);
  });

  afterAll(async () => {
    await rig.release();
    await rig.close();
    await models.remove();
  });

  it('holds as many as it may, and leaves the others to those that come when it ends', async () => {
    const patient = { SLUICE_INFERENCE_TIMEOUT: '2m', SLUICE_DRAIN_TIMEOUT: '2m', SLUICE_INFERENCE_PROCESSES: '1' };
    const full = await rig.worker({ ...patient, SLUICE_MAX_HELD_BYTES: '1MiB' });
    const { pids } = (await full.health()).detail.inferenceProcesses;
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    await rig.submit(jobs);
    await full.until(({ jobsInHand }) => jobsInHand === 3);
    const ended = full.end('SIGTERM');
    await rig.worker();
    await rig.until(() => rig.completions.size === jobs.length - 3);
    for (const pid of pids) process.kill(pid, 'SIGCONT');
    expect(await ended).toBe(0);
    await rig.until(() => rig.completions.size === jobs.length);
    for (const facts of rig.completions.values()) expect(facts.map(({ state }) => state)).toEqual(['succeeded']);
  });
});
