import { describe, expect, it } from '@jest/globals';
import { isJobId, jobIdTimeMs } from '@sluice/contracts';
import { createJobClock } from './job-clock.js';

/** A clock on a process time that the test moves. */
function setUp() {
  const process = { ms: 5_000 };
  return { process, clock: createJobClock(() => process.ms) };
}

const NOON = Date.UTC(2026, 10, 21, 12);

describe('the clock of jobs', () => {
  it("shows the machine's time before Redis has named its own, and Redis' from then on", () => {
    const { process, clock } = setUp();
    expect(Math.abs(clock.now() - Date.now())).toBeLessThan(1_000);
    clock.observe(NOON, process.ms);
    expect(clock.now()).toBe(NOON);
    process.ms += 250;
    expect(clock.now()).toBe(NOON + 250);
  });

  it('takes the middle between question and answer for the moment that Redis named', () => {
    const { process, clock } = setUp();
    process.ms += 100;
    clock.observe(NOON, process.ms - 100);
    expect(clock.now()).toBe(NOON + 50);
  });

  it('follows late answers a little, and another clock at once', () => {
    const { process, clock } = setUp();
    clock.observe(NOON, process.ms);
    clock.observe(NOON + 80, process.ms);
    expect(clock.now()).toBe(NOON + 10);
    clock.observe(NOON - 60_000, process.ms);
    expect(clock.now()).toBe(NOON - 60_000);
    expect(jobIdTimeMs(clock.newJobId())).toBe(NOON - 60_000);
  });

  it('learns nothing from an answer that it read long after it came', () => {
    const { process, clock } = setUp();
    clock.observe(NOON, process.ms);
    const sentAtMs = process.ms;
    process.ms += 30_000;
    clock.observe(NOON + 1, sentAtMs);
    expect(clock.now()).toBe(NOON + 30_000);
  });

  it('is behind rather than ahead after a first answer that it read long after it came, until the next one', () => {
    const { process, clock } = setUp();
    const sentAtMs = process.ms;
    process.ms += 30_000;
    clock.observe(NOON, sentAtMs);
    expect(clock.now()).toBe(NOON);
    clock.observe(NOON + 400, process.ms);
    expect(clock.now()).toBe(NOON + 400);
  });

  it('mints ids that carry its time and sort, however many in a millisecond and however the offset moves', () => {
    const { process, clock } = setUp();
    clock.observe(NOON, process.ms);
    const ids = Array.from({ length: 20_000 }, (_, index) => {
      if (index % 100 === 0) clock.observe(NOON - (index % 300), process.ms);
      return clock.newJobId();
    });
    expect(ids.every(isJobId)).toBe(true);
    expect(new Set(ids).size).toBe(ids.length);
    expect([...ids].sort()).toEqual(ids);
    expect(jobIdTimeMs(ids[0] ?? '')).toBe(NOON);
  });
});
