import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createAcknowledgements } from './acknowledgements.js';

describe('acknowledgements', () => {
  it('sends one frame for a run that nothing below is missing from', () => {
    expect(createAcknowledgements().frames([1, 2, 3])).toEqual([{ tag: 3, multiple: true }]);
  });

  it('sends a single tag as a single tag', () => {
    expect(createAcknowledgements().frames([1])).toEqual([{ tag: 1, multiple: false }]);
  });

  it('speaks for no tag below that is still open', () => {
    const acknowledgements = createAcknowledgements();
    expect(acknowledgements.frames([2, 3])).toEqual([
      { tag: 2, multiple: false },
      { tag: 3, multiple: false },
    ]);
    expect(acknowledgements.frames([1, 4])).toEqual([{ tag: 4, multiple: true }]);
  });

  it('passes over tags that were given back', () => {
    const acknowledgements = createAcknowledgements();
    acknowledgements.forget(2);
    expect(acknowledgements.frames([1, 3])).toEqual([{ tag: 3, multiple: true }]);
  });

  it('knows up to which tag everything is settled, given back or not', () => {
    const acknowledgements = createAcknowledgements();
    acknowledgements.frames([1, 3]);
    expect([0, 1, 2, 3].map((tag) => acknowledgements.settledUpTo(tag))).toEqual([true, true, false, false]);
    acknowledgements.forget(2);
    expect([3, 4].map((tag) => acknowledgements.settledUpTo(tag))).toEqual([true, false]);
  });

  it('acknowledges exactly what was settled, whatever the order and the batches', () => {
    const order = fc.uniqueArray(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(order, fc.array(fc.integer({ min: 1, max: 7 })), (tags, sizes) => {
        const acknowledgements = createAcknowledgements();
        const broker = new Set(Array.from({ length: 40 }, (_, index) => index + 1)); // unacknowledged
        const settled = new Set<number>();
        const rest = [...tags];
        for (let i = 0; rest.length > 0; i++) {
          const batch = rest.splice(0, sizes[i] ?? 3).sort((a, b) => a - b);
          for (const tag of batch) settled.add(tag);
          for (const frame of acknowledgements.frames(batch)) {
            for (const tag of [...broker]) {
              if (tag === frame.tag || (frame.multiple && tag < frame.tag)) broker.delete(tag);
            }
          }
          const open = Array.from({ length: 40 }, (_, index) => index + 1).filter((tag) => !settled.has(tag));
          expect([...broker]).toEqual(open);
        }
      }),
    );
  });
});
