import { describe, expect, it } from '@jest/globals';
import { retryDelayMs } from './connection.js';

describe('retryDelayMs', () => {
  it('grows to two seconds, and differs between clients', () => {
    for (const [attempt, ceilingMs] of [
      [1, 50],
      [3, 200],
      [6, 1600],
      [1000, 2000],
    ] as const) {
      const delays = Array.from({ length: 50 }, () => retryDelayMs(attempt));
      expect(Math.min(...delays)).toBeGreaterThanOrEqual(ceilingMs / 2);
      expect(Math.max(...delays)).toBeLessThanOrEqual(ceilingMs);
      expect(new Set(delays).size).toBeGreaterThan(1);
    }
  });
});
