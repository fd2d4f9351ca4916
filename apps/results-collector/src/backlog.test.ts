import { describe, expect, it } from '@jest/globals';
import { acceptedMessage, completedMessage } from '../test/messages.js';
import { createBacklog } from './backlog.js';
import type { Fact } from '@sluice/store';

const START_MS = 1_800_000_000_000;

function setUp() {
  let nowMs = START_MS;
  const backlog = createBacklog({ maxBatch: 2, now: () => nowMs });
  const pass = (ms: number): void => {
    nowMs += ms;
  };
  const fact = (ageMs: number): Fact => ({
    type: 'completed',
    message: completedMessage(acceptedMessage(), { finishedAtMs: nowMs - ageMs }),
  });
  return {
    backlog,
    pass,
    /** A batch with facts of these ages and some messages that carry none, which takes a while. */
    handle: (agesMs: readonly number[], { unreadable = 0, takesMs = 0 } = {}): void => {
      const facts = agesMs.map(fact);
      const startedAtMs = nowMs;
      pass(takesMs);
      backlog.handled({ deliveries: facts.length + unreadable, facts, startedAtMs });
    },
  };
}

describe('the backlog', () => {
  it('is trusted from the start of the collector on', () => {
    const { backlog, pass } = setUp();
    pass(5_000);
    expect(backlog.quietForMs()).toBe(5_000);
  });

  it('shows as a full batch of old facts', () => {
    const { backlog, pass, handle } = setUp();
    pass(5_000);
    handle([60_000, 31_000]);
    expect(backlog.quietForMs()).toBe(0);
  });

  it('does not show as a full batch with something fresh, nor as few old facts now and then', () => {
    const { backlog, pass, handle } = setUp();
    pass(5_000);
    handle([60_000, 29_000]);
    pass(1_001);
    handle([60_000]);
    pass(1_001);
    handle([]);
    expect(backlog.quietForMs()).toBe(7_002);
  });

  it('shows as a full batch of which one message could not be read', () => {
    const { backlog, pass, handle } = setUp();
    pass(5_000);
    handle([60_000], { unreadable: 1 });
    expect(backlog.quietForMs()).toBe(0);
  });

  it('may hide behind a full batch of which no message could be read', () => {
    const { backlog, pass, handle } = setUp();
    pass(5_000);
    handle([], { unreadable: 2 });
    expect(backlog.quietForMs()).toBe(0);
  });

  it('shows as old facts that follow upon each other, however small and slow their batches', () => {
    const { backlog, pass, handle } = setUp();
    pass(5_000);
    handle([60_000], { takesMs: 4_000 });
    expect(backlog.quietForMs()).toBe(9_000);
    pass(10);
    handle([60_000], { takesMs: 4_000 });
    expect(backlog.quietForMs()).toBe(0);
  });

  it('does not show as messages that cannot be read, one after the other', () => {
    const { backlog, pass, handle } = setUp();
    pass(5_000);
    handle([], { unreadable: 1 });
    handle([], { unreadable: 1 });
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
