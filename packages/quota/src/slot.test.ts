import { describe, expect, it } from '@jest/globals';
import { slotOf } from './slot.js';

describe('slotOf', () => {
  // The answers of CLUSTER KEYSLOT.
  it.each([
    ['123456789', 12739],
    ['foo', 12182],
    ['{user1000}.following', 3443],
    ['foo{}{bar}', 8363],
    ['foo{{bar}}zap', 4015],
    ['', 0],
  ])('of %s is %i', (key, slot) => {
    expect(slotOf(key)).toBe(slot);
  });
});
