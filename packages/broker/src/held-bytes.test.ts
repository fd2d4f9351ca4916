import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { createHeldBytes } from './held-bytes.js';
import type { Link, Received } from './link.js';

/** Deliveries of one link, by their tags, and which of them were given back. */
function createFixture(maxBytes: number) {
  const returned: number[] = [];
  const link = { giveBack: (received: readonly Received[]) => returned.push(...received.map(({ tag }) => tag)) };
  let tag = 0;
  const delivery = (bytes: number, returns = 0): Received => ({
    delivery: {
      body: Buffer.alloc(bytes),
      headers: { 'x-delivery-count': returns },
    } as unknown as Received['delivery'],
    tag: (tag += 1),
    link: link as unknown as Link,
  });
  return { held: createHeldBytes(maxBytes), delivery, link: link as unknown as Link, returned };
}

describe('the bytes in hand', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  it('are bounded, and what waits is given back in its order when as much was settled', () => {
    const { held, delivery, returned } = createFixture(10);
    const [a, b, c, d, e] = [6, 4, 3, 4, 2].map((bytes) => delivery(bytes)) as [
      Received,
      Received,
      Received,
      Received,
      Received,
    ];
    expect([a, b, c, d, e].map((each) => held.take(each))).toEqual([true, true, false, false, false]);
    held.release([b]);
    expect(returned).toEqual([3]);
    held.release([a]);
    expect(returned).toEqual([3, 4, 5]);
  });

  it('do not grow by what comes again while nothing was settled', () => {
    const { held, delivery, returned } = createFixture(10);
    const first = delivery(8);
    held.take(first);
    for (let again = 0; again < 5; again++) expect(held.take(delivery(5))).toBe(false);
    expect(returned).toEqual([]);
    held.release([first]);
    expect(returned).toEqual([2, 3]);
  });

  it('may be more for one delivery that is by itself', () => {
    const { held, delivery, returned } = createFixture(10);
    const [small, large] = [delivery(1), delivery(50)];
    held.take(small);
    expect(held.take(large)).toBe(false);
    held.release([small]);
    expect(returned).toEqual([large.tag]);
    expect(held.take(large)).toBe(true);
  });

  it('make room for the next one when what was given back went elsewhere', () => {
    const { held, delivery, returned } = createFixture(10);
    const first = delivery(8);
    held.take(first);
    for (let large = 0; large < 3; large++) held.take(delivery(8));
    held.release([first]);
    expect(returned).toEqual([2]);
    jest.advanceTimersByTime(1_000);
    expect(returned).toEqual([2, 3]);
    held.take(delivery(8));
    jest.advanceTimersByTime(10_000);
    expect(returned).toEqual([2, 3]);
  });

  it('give nothing back for room that others have taken meanwhile', () => {
    const { held, delivery, returned } = createFixture(10);
    const [a, b] = [delivery(4), delivery(6)];
    held.take(a);
    held.take(b);
    held.take(delivery(9));
    held.release([a]);
    held.take(delivery(4));
    held.release([b]);
    expect(returned).toEqual([]);
  });

  it('do not send round what other consumers had no room for', () => {
    const { held, delivery, returned } = createFixture(10);
    held.take(delivery(8));
    expect(held.take(delivery(8, 4))).toBe(false);
    expect(held.take(delivery(8, 5))).toBe(true);
    expect(returned).toEqual([]);
  });

  it('let nothing wait where they are not bounded', () => {
    const { held, delivery } = createFixture(Infinity);
    for (let each = 0; each < 100; each++) expect(held.take(delivery(1_000_000))).toBe(true);
  });

  it('forget what waited on a channel that was lost, and give back all that waits at the end', () => {
    const { held, delivery, link, returned } = createFixture(10);
    const first = delivery(10);
    held.take(first);
    held.take(delivery(5));
    held.forget(link);
    held.take(delivery(5));
    held.giveBackAll();
    expect(returned).toEqual([3]);
    held.release([first]);
    expect(returned).toEqual([3]);
  });
});
