import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createJobClock } from './job-clock.js';

const NOON = Date.UTC(2026, 10, 21, 12);
const SECOND = 1_000;
const HOUR = 3_600_000;

/** A clock on a process time that the test moves. */
function setUp() {
  const process = { ms: 5_000 };
  return { process, clock: createJobClock(() => process.ms) };
}

describe('the clock of jobs at a worker', () => {
  it('shows 0 until something was heard, so that no deadline has passed', () => {
    const { process, clock } = setUp();
    expect(clock.now()).toBe(0);
    process.ms += HOUR;
    expect(clock.now()).toBe(0);
  });

  it('goes on from the latest time that was heard of, whatever came late', () => {
    const { process, clock } = setUp();
    clock.heard(NOON);
    process.ms += 500;
    expect(clock.now()).toBe(NOON + 500);
    clock.heard(NOON + 100);
    expect(clock.now()).toBe(NOON + 500);
    clock.heard(NOON + 700);
    expect(clock.now()).toBe(NOON + 700);
  });

  it('learns from a job that was accepted just now, and nothing from one that waited', () => {
    const { process, clock } = setUp();
    clock.accepted(NOON - HOUR);
    expect(clock.now()).toBe(NOON - HOUR);
    clock.accepted(NOON);
    clock.accepted(NOON - HOUR);
    process.ms += 10;
    expect(clock.now()).toBe(NOON + 10);
  });

  it('keeps what it knows while no notices come, however many old jobs do', () => {
    const { process, clock } = setUp();
    clock.heard(NOON);
    for (let waited = 0; waited < 100; waited += 1) {
      process.ms += SECOND;
      clock.accepted(NOON - HOUR);
    }
    expect(clock.now()).toBe(NOON + 100 * SECOND);
  });

  it('follows a Redis whose clock shows less within two generations of notices', () => {
    const { process, clock } = setUp();
    for (let told = 0; told < 30; told += 2) {
      clock.heard(NOON + told * SECOND);
      process.ms += 2 * SECOND;
    }
    const startMs = process.ms;
    const showsMs = (): number => NOON - HOUR + process.ms - startMs;
    while (process.ms - startMs <= 20 * SECOND) {
      clock.heard(showsMs());
      process.ms += 2 * SECOND;
    }
    expect(clock.now()).toBe(showsMs());
  });

  it('follows such a Redis though jobs of before are delivered meanwhile', () => {
    const { process, clock } = setUp();
    clock.heard(NOON);
    const startMs = process.ms;
    const showsMs = (): number => NOON - HOUR + process.ms - startMs;
    while (process.ms - startMs <= 20 * SECOND) {
      clock.heard(showsMs());
      process.ms += SECOND;
      clock.accepted(NOON - SECOND);
      process.ms += SECOND;
    }
    expect(clock.now()).toBe(showsMs());
  });

  it('is not set back by one notice that was under way for long', () => {
    const { process, clock } = setUp();
    clock.heard(NOON);
    process.ms += 30 * SECOND;
    clock.heard(NOON);
    expect(clock.now()).toBe(NOON + 30 * SECOND);
  });

  it('is never ahead, and behind by no more than the quickest news of the last ten seconds took', () => {
    const news = fc.record({
      afterMs: fc.integer({ min: 1, max: 4 * SECOND }),
      tookMs: fc.integer({ min: 0, max: 20 * SECOND }),
      isJob: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(news, { minLength: 1, maxLength: 60 }), (all) => {
        const { process, clock } = setUp();
        const redisNowMs = (): number => NOON + process.ms;
        let heardAtMs = -Infinity;
        const recent: { readonly atMs: number; readonly tookMs: number }[] = [];
        for (const { afterMs, tookMs, isJob } of all) {
          process.ms += afterMs;
          if (isJob) clock.accepted(redisNowMs() - tookMs);
          else clock.heard(redisNowMs() - tookMs);
          // While notices come, jobs tell nothing.
          if (!isJob || process.ms - heardAtMs >= 10 * SECOND) recent.push({ atMs: process.ms, tookMs });
          if (!isJob) heardAtMs = process.ms;
          const counting = recent.filter(({ atMs }) => process.ms - atMs < 10 * SECOND);
          expect(clock.now()).toBeLessThanOrEqual(redisNowMs());
          expect(clock.now()).toBeGreaterThanOrEqual(redisNowMs() - Math.min(...counting.map((one) => one.tookMs)));
        }
      }),
    );
  });
});
