import { describe, expect, it } from '@jest/globals';
import { createBackoff } from './backoff.js';

describe('backoff', () => {
  it('doubles up to the maximum', () => {
    const backoff = createBackoff({ firstMs: 100, maxMs: 500, random: () => 1 });
    expect([1, 2, 3, 4, 5].map(() => backoff.next())).toEqual([100, 200, 400, 500, 500]);
  });

  it('spreads each delay over its upper half', () => {
    expect(createBackoff({ firstMs: 100, maxMs: 500, random: () => 0 }).next()).toBe(50);
  });

  it('begins anew after a success that lasted, not after one that ended at once', () => {
    const backoff = createBackoff({ firstMs: 100, maxMs: 500, random: () => 1 });
    backoff.next();
    expect(backoff.next(499)).toBe(200);
    expect(backoff.next(500)).toBe(100);
  });

  it('stays finite after very many failures', () => {
    const backoff = createBackoff({ firstMs: 100, maxMs: 500, random: () => 1 });
    for (let i = 0; i < 5_000; i++) backoff.next();
    expect(backoff.next()).toBe(500);
  });
});
