import { describe, expect, it } from '@jest/globals';
import { createHoldTimes } from './hold-times.js';

describe('the time that jobs in hand should last', () => {
  it('is four target latencies, in the mean over the jobs of the class that came', () => {
    const holdTimes = createHoldTimes();
    for (const targetLatencyMs of [50, 50, 200]) holdTimes.came('standard', targetLatencyMs);
    holdTimes.came('batch', 1_000);
    expect(holdTimes.take('standard')).toBe(400);
    expect(holdTimes.take('batch')).toBe(4_000);
  });

  it('is not known while no job came', () => {
    const holdTimes = createHoldTimes();
    holdTimes.came('standard', 50);
    expect(holdTimes.take('interactive')).toBeUndefined();
    holdTimes.take('standard');
    expect(holdTimes.take('standard')).toBeUndefined();
  });
});
