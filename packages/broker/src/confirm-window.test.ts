import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import fc from 'fast-check';
import { createConfirmWindow, type ConfirmWindow } from './confirm-window.js';

function publish(window: ConfirmWindow, messageId: string): Promise<string> {
  return new Promise<void>((resolve, reject) => window.add(messageId, resolve, reject)).then(
    () => 'confirmed',
    (error: { code: string }) => error.code,
  );
}

describe('confirm window', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('answers one publish for one confirm and all up to it for a multiple one', async () => {
    const window = createConfirmWindow({ deadlineMs: 1_000 });
    const outcomes = ['a', 'b', 'c', 'd'].map((id) => publish(window, id));
    window.settle(3, false, true);
    window.settle(2, true, true);
    expect(window.size).toBe(1);
    await expect(Promise.all(outcomes.slice(0, 3))).resolves.toEqual(['confirmed', 'confirmed', 'confirmed']);
    window.fail(undefined);
    await expect(outcomes[3]).resolves.toBe('publish_unconfirmed');
  });

  it('calls a refused message unknown, because another queue may have taken it', async () => {
    const window = createConfirmWindow({ deadlineMs: 1_000 });
    const outcome = publish(window, 'a');
    window.settle(1, false, false);
    await expect(outcome).resolves.toBe('publish_unconfirmed');
  });

  it('calls a returned message certainly not queued, although the broker confirms it', async () => {
    const window = createConfirmWindow({ deadlineMs: 1_000 });
    const outcomes = [publish(window, 'a'), publish(window, 'b'), publish(window, 'b')];
    window.returned('b');
    window.settle(3, true, true);
    await expect(Promise.all(outcomes)).resolves.toEqual(['confirmed', 'broker_unavailable', 'confirmed']);
  });

  it('rejects each publish at its own deadline and keeps counting it until the broker answers', async () => {
    const window = createConfirmWindow({ deadlineMs: 1_000 });
    const first = publish(window, 'a');
    jest.advanceTimersByTime(600);
    const second = publish(window, 'b');
    jest.advanceTimersByTime(400);
    await expect(first).resolves.toBe('publish_unconfirmed');
    expect(window.size).toBe(2);
    window.settle(2, true, true);
    await expect(second).resolves.toBe('confirmed');
    expect(window.size).toBe(0);
  });

  it('is settled when the broker has answered everything added before, past deadlines or not', async () => {
    const window = createConfirmWindow({ deadlineMs: 1_000 });
    const told: string[] = [];
    const outcomes = [publish(window, 'a'), publish(window, 'b')];
    void window.settled().then(() => told.push('both'));
    outcomes.push(publish(window, 'c'));
    jest.advanceTimersByTime(1_000);
    await Promise.all(outcomes);
    window.settle(2, false, true);
    await Promise.resolve();
    expect(told).toEqual([]);
    window.settle(1, false, true);
    await Promise.resolve();
    expect(told).toEqual(['both']);
    const rest = window.settled();
    window.fail(undefined);
    await rest;
    await window.settled();
  });

  it('is idle when every caller has an answer, even if the broker has not given it', async () => {
    const window = createConfirmWindow({ deadlineMs: 1_000 });
    const outcome = publish(window, 'a');
    const idle = window.idle();
    jest.advanceTimersByTime(1_000);
    await idle;
    await expect(outcome).resolves.toBe('publish_unconfirmed');
    await createConfirmWindow({ deadlineMs: 1_000 }).idle();
  });

  it('answers every publish exactly once, whatever the broker sends in whatever order', async () => {
    const event = fc.oneof(
      fc.record({ kind: fc.constant('publish' as const) }),
      fc.record({
        kind: fc.constant('settle' as const),
        tag: fc.integer({ min: 1, max: 30 }),
        multiple: fc.boolean(),
        accepted: fc.boolean(),
      }),
      fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 900 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 60 }), async (events) => {
        const window = createConfirmWindow({ deadlineMs: 1_000 });
        const answers: number[] = [];
        for (const one of events) {
          if (one.kind === 'publish') {
            const index = answers.push(0) - 1;
            const count = (): void => void (answers[index] = (answers[index] ?? 0) + 1);
            window.add(String(index), count, count);
          } else if (one.kind === 'settle') {
            if (one.tag <= answers.length) window.settle(one.tag, one.multiple, one.accepted);
          } else jest.advanceTimersByTime(one.ms);
        }
        window.fail(undefined);
        expect(window.size).toBe(0);
        expect(answers.every((count) => count === 1)).toBe(true);
        await window.idle();
      }),
    );
  });
});
