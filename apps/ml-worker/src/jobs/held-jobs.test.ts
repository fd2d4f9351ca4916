import { describe, expect, it } from '@jest/globals';
import { newJobId } from '@sluice/contracts';
import { createHeldJobs } from './held-jobs.js';

const newJob = () => ({ jobId: newJobId(), tenantId: 'acme' });

describe('the jobs in hand', () => {
  it('wait, run, and are gone', () => {
    const held = createHeldJobs();
    const job = newJob();
    expect(held.holdingOf(job)).toBeUndefined();
    const hold = held.take(job);
    expect(held.holdingOf(job)).toBe('waiting');
    hold.begin();
    expect(held.holdingOf(job)).toBe('running');
    hold.end();
    expect([held.holdingOf(job), held.size]).toEqual([undefined, 0]);
  });

  it('are of one tenant', () => {
    const held = createHeldJobs();
    const job = newJob();
    held.take(job);
    expect(held.holdingOf({ ...job, tenantId: 'other' })).toBeUndefined();
  });

  it('are here until each of their deliveries has ended, and run when one of them does', () => {
    const held = createHeldJobs();
    const job = newJob();
    const [first, second] = [held.take(job), held.take(job)];
    second.begin();
    expect(held.holdingOf(job)).toBe('running');
    second.end();
    second.end();
    expect(held.holdingOf(job)).toBe('waiting');
    const third = held.take(job);
    first.end();
    expect([held.holdingOf(job), held.size]).toEqual(['waiting', 1]);
    third.end();
    expect(held.size).toBe(0);
  });
});
