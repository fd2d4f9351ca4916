import { describe, expect, it } from '@jest/globals';
import { createProgressWatch } from './progress.js';

function setUp() {
  const state = { nowMs: 1_000_000, expected: true };
  const consumer = { inFlight: 0, lastProgressAtMs: 0 };
  const watch = createProgressWatch({
    consumers: [consumer],
    expected: () => state.expected,
    patienceMs: 1_000,
    monotonicMs: () => state.nowMs,
  });
  function pass(ms: number): boolean {
    state.nowMs += ms;
    watch.observe();
    return watch.stuck;
  }
  return { state, consumer, pass };
}

describe('the progress watch', () => {
  it('calls a consumer stuck that holds deliveries and settles none', () => {
    const { consumer, pass } = setUp();
    consumer.inFlight = 3;
    expect([pass(600), pass(600)]).toEqual([false, true]);
  });

  it('does not mind a long idle time before the delivery', () => {
    const { consumer, pass } = setUp();
    pass(1_000_000);
    consumer.inFlight = 1;
    expect(pass(900)).toBe(false);
  });

  it('does not mind slow progress', () => {
    const { consumer, pass } = setUp();
    consumer.inFlight = 3;
    for (let step = 1; step <= 5; step++) {
      consumer.lastProgressAtMs = step;
      expect(pass(900)).toBe(false);
    }
  });

  it('does not count the time in which a server is away', () => {
    const { state, consumer, pass } = setUp();
    consumer.inFlight = 3;
    state.expected = false;
    expect(pass(600_000)).toBe(false);
    state.expected = true;
    expect(pass(900)).toBe(false);
    expect(pass(900)).toBe(true);
  });
});
