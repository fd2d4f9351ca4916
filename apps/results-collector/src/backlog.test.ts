import { describe, expect, it } from '@jest/globals';
import { acceptedMessage, completedMessage } from '../test/messages.js';
import { createBacklog } from './backlog.js';
import type { Fact } from './facts.js';

const START_MS = 1_800_000_000_000;

function setUp() {
  let nowMs = START_MS;
  const backlog = createBacklog({ maxBatch: 2, now: () => nowMs });
  return {
    backlog,
    pass: (ms: number): void => {
      nowMs += ms;
    },
    fact: (ageMs: number): Fact => ({
      type: 'completed',
      message: completedMessage(acceptedMessage(), { finishedAtMs: nowMs - ageMs }),
    }),
  };
}

describe('the backlog', () => {
  it('is trusted from the start of the collector on', () => {
    const { backlog, pass } = setUp();
    pass(5_000);
    expect(backlog.quietForMs()).toBe(5_000);
  });

  it('shows as a full batch of old facts', () => {
    const { backlog, pass, fact } = setUp();
    pass(5_000);
    backlog.handled([fact(60_000), fact(31_000)]);
    expect(backlog.quietForMs()).toBe(0);
  });

  it('does not show as a full batch with something fresh, nor as few old facts', () => {
    const { backlog, pass, fact } = setUp();
    pass(5_000);
    backlog.handled([fact(60_000), fact(29_000)]);
    backlog.handled([fact(60_000)]);
    backlog.handled([]);
    expect(backlog.quietForMs()).toBe(5_000);
  });

  it('must be assumed after a disturbance', () => {
    const { backlog, pass } = setUp();
    pass(5_000);
    backlog.disturbed();
    pass(7);
    expect(backlog.quietForMs()).toBe(7);
  });
});
