import { describe, expect, it } from '@jest/globals';
import { isJobId, isUuid, jobIdTimeMs, newJobId } from './ids.js';

describe('job ids', () => {
  it('carry the time they were made', () => {
    const before = Date.now();
    const id = newJobId();
    const after = Date.now();
    expect(isJobId(id)).toBe(true);
    expect(jobIdTimeMs(id)).toBeGreaterThanOrEqual(before);
    expect(jobIdTimeMs(id)).toBeLessThanOrEqual(after);
    // RFC 9562, appendix A.6: the example UUIDv7 of 2022-02-22T19:22:22Z.
    expect(jobIdTimeMs('017f22e2-79b0-7cc3-98c4-dc0c0c07398f')).toBe(1645557742000);
  });

  it('never repeat and sort by time', () => {
    const ids = Array.from({ length: 10_000 }, newJobId);
    expect(new Set(ids).size).toBe(ids.length);
    expect([...ids].sort()).toEqual(ids);
  });

  it.each(['', 'x', '017F22E2-79B0-7CC3-98C4-DC0C0C07398F', '017f22e2-79b0-4cc3-98c4-dc0c0c07398f', "' or 1=1 --"])(
    'are not %p',
    (text) => expect(isJobId(text)).toBe(false),
  );

  it('are UUIDs, among others', () => {
    expect(isUuid('017f22e2-79b0-4cc3-98c4-dc0c0c07398f')).toBe(true);
    expect(isUuid('017f22e2-79b0-4cc3-98c4-dc0c0c07398')).toBe(false);
  });
});
