import { describe, expect, it } from '@jest/globals';
import { createProgressWatch } from './progress-watch.js';

function createFixture() {
  const state = { nowMs: 0, inFlight: 0, lastProgressAtMs: 0 };
  const consumer = {
    get inFlight() {
      return state.inFlight;
    },
    get lastProgressAtMs() {
      return state.lastProgressAtMs;
    },
  };
  const watch = createProgressWatch({ consumers: [consumer], stallTimeoutMs: 100, now: () => state.nowMs });
  return { state, watch };
}

describe('a progress watch', () => {
  it('does not call an idle worker stalled, however long', () => {
    const { state, watch } = createFixture();
    state.nowMs = 1_000_000;
    expect(watch.stalled()).toBe(false);
  });

  it('does not call a worker stalled that was idle for long and has just taken a job', () => {
    const { state, watch } = createFixture();
    state.nowMs = 1_000_000;
    state.inFlight = 1;
    expect(watch.stalled()).toBe(false);
    state.nowMs += 100;
    expect(watch.stalled()).toBe(false);
  });

  it('calls a worker stalled that holds jobs and finishes none', () => {
    const { state, watch } = createFixture();
    state.inFlight = 1;
    expect(watch.stalled()).toBe(false);
    state.nowMs = 101;
    expect(watch.stalled()).toBe(true);
  });

  it('counts from the last job that was finished', () => {
    const { state, watch } = createFixture();
    state.inFlight = 1;
    expect(watch.stalled()).toBe(false);
    state.lastProgressAtMs = 50;
    state.nowMs = 150;
    expect(watch.stalled()).toBe(false);
    state.nowMs = 151;
    expect(watch.stalled()).toBe(true);
  });
});
