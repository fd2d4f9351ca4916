import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createDueQueue } from './due-queue.js';

describe('a due queue', () => {
  it('gives what waits in the order in which it is due, whatever comes and goes in between', () => {
    const steps = fc.array(fc.tuple(fc.constantFrom('add', 'add', 'take', 'leave'), fc.nat(50)), { maxLength: 400 });
    fc.assert(
      fc.property(steps, (list) => {
        const waiting = new Set<{ dueAtMs: number }>();
        const queue = createDueQueue<{ dueAtMs: number }>((item) => waiting.has(item));
        for (const [step, number] of list) {
          if (step === 'add') {
            const item = { dueAtMs: number };
            waiting.add(item);
            queue.add(item);
          } else if (step === 'take') {
            const first = queue.first();
            if (first) waiting.delete(first);
          } else {
            const other = [...waiting][number % Math.max(1, waiting.size)];
            if (other) waiting.delete(other);
          }
          const earliest = [...waiting].reduce((least, { dueAtMs }) => Math.min(least, dueAtMs), Infinity);
          expect(queue.first()?.dueAtMs ?? Infinity).toBe(earliest);
        }
      }),
    );
  });
});
