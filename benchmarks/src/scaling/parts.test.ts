import { describe, expect, it } from '@jest/globals';
import { createEventHeap, type Timed } from './event-heap.js';
import { createFleet } from './fleet.js';
import { createJobQueue } from './job-queue.js';
import { createRandom } from './random.js';
import { SHAPES } from './scenarios.js';
import { createTurns } from './turns.js';
import { createWaitHistogram } from './wait-histogram.js';
import { createArrivals, meanJobTokens, type Arrival } from './workload.js';

describe('createRandom', () => {
  it('gives the same numbers for a seed, with the moments they should have', () => {
    const [one, other] = [createRandom(5), createRandom(5)];
    const drawn = Array.from({ length: 50_000 }, () => one.normal());
    expect(Array.from({ length: 50_000 }, () => other.normal())).toEqual(drawn);
    const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
    expect(mean(drawn)).toBeCloseTo(0, 1);
    expect(mean(drawn.map((value) => value * value))).toBeCloseTo(1, 1);
    expect(mean(Array.from({ length: 50_000 }, () => one.exponential()))).toBeCloseTo(1, 1);
  });
});

describe('createWaitHistogram', () => {
  it('knows quantiles to 3 %', () => {
    const histogram = createWaitHistogram();
    for (let at = 1; at <= 10_000; at++) histogram.add(at / 100);
    for (const p of [0.5, 0.95, 0.99]) expect(Math.abs(histogram.quantile(p) / (100 * p) - 1)).toBeLessThan(0.03);
    expect(histogram.shareWithin(50)).toBeCloseTo(0.5, 1);
    expect(histogram.mean).toBeCloseTo(50, 0);
  });

  it('has no waits to tell of at first', () => {
    expect(createWaitHistogram().quantile(0.99)).toBe(0);
  });
});

describe('createJobQueue', () => {
  it('gives back in order what it was given, also when it has grown around its end', () => {
    const queue = createJobQueue();
    let [added, taken] = [0, 0];
    for (let round = 0; round < 40; round++) {
      for (let n = 0; n < 100; n++) queue.add({ at: added++, texts: 1, tokens: 2 });
      for (let n = 0; n < 30; n++) expect(queue.take().at).toBe(taken++);
    }
    expect(queue.size).toBe(added - taken);
    expect(queue.tokens).toBe(2 * (added - taken));
    while (queue.size > 0) expect(queue.take().at).toBe(taken++);
    expect(queue.firstAt).toBe(Infinity);
    expect(() => queue.take()).toThrow(RangeError);
  });
});

describe('createEventHeap', () => {
  it('gives events by time', () => {
    const heap = createEventHeap<Timed>();
    const random = createRandom(3);
    const times = Array.from({ length: 500 }, () => random.uniform());
    for (const at of times) heap.add({ at });
    const taken = times.map(() => heap.take()?.at ?? NaN);
    expect(taken).toEqual([...times].sort((a, b) => a - b));
    expect(heap.take()).toBeUndefined();
    expect(heap.nextAt).toBe(Infinity);
  });
});

describe('createArrivals', () => {
  it('brings as many jobs of as many tokens as it says', () => {
    const next = createArrivals({ durationSeconds: 200, rateAt: (at) => (at < 100 ? 50 : 0), shapes: SHAPES }, 9);
    const arrivals: Arrival[] = [];
    for (let one = next(); one; one = next()) arrivals.push(one);
    expect(arrivals.length / 5_000).toBeCloseTo(1, 1);
    expect(Math.max(...arrivals.map(({ at }) => at))).toBeLessThan(100);
    const tokens = arrivals.reduce((sum, one) => sum + one.tokens, 0) / arrivals.length;
    expect(Math.abs(tokens / meanJobTokens(SHAPES) - 1)).toBeLessThan(0.1);
  });
});

describe('createFleet', () => {
  it('removes pods that are not ready first, then the youngest; those at work leave when they are done', () => {
    const fleet = createFleet();
    const [oldest, younger, starting] = fleet.scaleTo(3, 0);
    if (!oldest || !younger || !starting) throw new Error('three pods were asked for');
    fleet.becomeReady(oldest, 10);
    fleet.becomeReady(younger, 20);
    younger.busy = 1;
    fleet.scaleTo(1, 30);
    expect([oldest.state, younger.state, starting.state]).toEqual(['ready', 'draining', 'gone']);
    expect(fleet.replicas).toBe(1);
    expect(fleet.pods).toEqual([oldest, younger]);
    fleet.leave(younger);
    expect(fleet.pods).toEqual([oldest]);
  });
});

describe('createTurns', () => {
  it('prefers interactive jobs, and lets no class wait for ever', () => {
    const queues = [0, 1, 2].map(() => {
      const queue = createJobQueue();
      queue.add({ at: 0, texts: 1, tokens: 1 });
      return queue;
    });
    const turns = createTurns();
    const served = [0, 0, 0];
    for (let now = 0; now < 100; now += 0.05) {
      const at = turns.next(queues) ?? 0;
      served[at] = (served[at] ?? 0) + 1;
      turns.served(at, now, 0.05);
    }
    const [interactive = 0, standard = 0, batch = 0] = served;
    expect(interactive).toBeGreaterThan(standard);
    expect(standard).toBeGreaterThan(batch);
    expect(batch).toBeGreaterThan(50);
  });
});
