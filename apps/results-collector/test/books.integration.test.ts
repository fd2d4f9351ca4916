import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MESSAGE_TYPES, QUEUES } from '@sluice/contracts';
import { acceptedMessage, completedMessage } from './messages.js';
import { eventually, heldJobs, openWorkbench, settled, TENANT, type Workbench } from './workbench.js';

let bench: Workbench;
beforeEach(async () => {
  bench = await openWorkbench();
});
afterEach(async () => {
  await bench.close();
});

describe('the books', () => {
  it('take an accepted and a completed job, settle its hold and leave a terminal snapshot', async () => {
    const collector = bench.collector();
    await collector.lifecycle.start();
    const job = acceptedMessage({ maxOutputTokens: 5, reservedTokens: 15 });
    await bench.hold(job);
    expect(await bench.tokens()).toMatchObject({ held: 15, used: 0 });
    await bench.accept(job);
    await bench.complete(completedMessage(job));

    expect(await settled(bench)).toEqual({ held: 0, used: 10, overage: 0 });
    expect(await bench.store.findJob(TENANT, job.jobId)).toMatchObject({ state: 'succeeded', modelVersion: '1' });
    expect(JSON.parse((await bench.quota.snapshot(TENANT, job.jobId)) ?? '')).toEqual({
      jobId: job.jobId,
      state: 'succeeded',
    });
    await collector.lifecycle.stop();
    expect(await bench.depth(QUEUES.results)).toBe(0);
  });
});
