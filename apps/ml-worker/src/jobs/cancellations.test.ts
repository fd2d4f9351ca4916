import { describe, expect, it } from '@jest/globals';
import { newJobId } from '@sluice/contracts';
import { createCancellations, type JobRef } from './cancellations.js';

function createFixture(limit = 3) {
  const clock = { nowMs: 1_000 };
  const cancellations = createCancellations({ limit, now: () => clock.nowMs });
  const cancel = (job: JobRef, expiresAtMs = 2_000) => cancellations.add({ ...job, expiresAtMs });
  return { clock, cancellations, cancel };
}

const newJob = (tenantId = 'acme'): JobRef => ({ jobId: newJobId(), tenantId });

describe('requests to cancel', () => {
  it('are remembered until the deadline of the job', () => {
    const { clock, cancellations, cancel } = createFixture();
    const job = newJob();
    expect(cancellations.has(job)).toBe(false);
    cancel(job);
    clock.nowMs = 2_000;
    expect(cancellations.has(job)).toBe(true);
    clock.nowMs = 2_001;
    expect(cancellations.has(job)).toBe(false);
    cancel(newJob(), 3_000);
    expect(cancellations.size).toBe(1);
  });

  it('are not remembered when the deadline has passed', () => {
    const { cancellations, cancel } = createFixture();
    cancel(newJob(), 999);
    expect(cancellations.size).toBe(0);
  });

  it('are forgotten from the oldest on when there are too many', () => {
    const { cancellations, cancel } = createFixture(3);
    const jobs = [newJob(), newJob(), newJob(), newJob()];
    for (const job of jobs) cancel(job);
    expect(jobs.map((job) => cancellations.has(job))).toEqual([false, true, true, true]);
    expect(cancellations.size).toBe(3);
  });

  it('are about the job of one tenant', () => {
    const { cancellations, cancel } = createFixture();
    const job = newJob();
    let heard = 0;
    cancellations.watch(job, () => (heard += 1));
    cancel({ ...job, tenantId: 'other' });
    expect([cancellations.has(job), heard]).toEqual([false, 0]);
  });

  it('are told to everyone who watches the job, and to nobody afterwards', () => {
    const { cancellations, cancel } = createFixture();
    const job = newJob();
    const heard: string[] = [];
    const unwatch = [
      cancellations.watch(job, () => heard.push('first')),
      cancellations.watch(job, () => heard.push('second')),
      cancellations.watch(newJob(), () => heard.push('another job')),
    ];
    unwatch[0]?.();
    cancel(job);
    expect(heard).toEqual(['second']);
    unwatch[1]?.();
    unwatch[1]?.();
    cancel(job);
    expect(heard).toEqual(['second']);
  });

  it('let a watcher end while it is told', () => {
    const { cancellations, cancel } = createFixture();
    const job = newJob();
    let heard = 0;
    const unwatch = cancellations.watch(job, () => {
      heard += 1;
      unwatch();
    });
    cancel(job);
    cancel(job);
    expect(heard).toBe(1);
  });
});
