import { describe, expect, it } from '@jest/globals';
import { createFallbackCounter, hpaBounds, KEDA_DEFAULTS, pollOnce, toQuantity, type Poll } from './keda.js';

const object = { ...KEDA_DEFAULTS, cooldownPeriod: 300 };
const at = (now: number, replicas: number, rest: Partial<Poll> = {}): Poll => ({
  now,
  replicas,
  isActive: false,
  isError: false,
  createdAt: 0,
  lastActiveAt: undefined,
  ...rest,
});

describe('a poll', () => {
  it('brings the least there may be, and one at least, when there is something to do', () => {
    expect(pollOnce(object, at(5, 0, { isActive: true }))).toEqual({ replicas: 1, lastActiveAt: 5 });
    expect(pollOnce({ ...object, minReplicaCount: 3 }, at(5, 0, { isActive: true })).replicas).toBe(3);
  });

  it('leaves the number to the autoscaler while there is something to do', () => {
    expect(pollOnce(object, at(5, 9, { isActive: true }))).toEqual({ replicas: 9, lastActiveAt: 5 });
  });

  it('goes to 0 from any number once the cooldown is over, and not when it is just over', () => {
    expect(pollOnce(object, at(400, 9, { lastActiveAt: 100 })).replicas).toBe(9);
    expect(pollOnce(object, at(401, 9, { lastActiveAt: 100 })).replicas).toBe(0);
  });

  it('does not wait for a cooldown when it was never active', () => {
    expect(pollOnce(object, at(1, 2)).replicas).toBe(0);
    expect(pollOnce({ ...object, initialCooldownPeriod: 60 }, at(1, 2)).replicas).toBe(2);
  });

  it('never goes below a least number', () => {
    const least = { ...object, minReplicaCount: 2 };
    expect(pollOnce(least, at(1_000, 5, { lastActiveAt: 0 })).replicas).toBe(5);
    expect(pollOnce(least, at(1_000, 1, { lastActiveAt: 0 })).replicas).toBe(2);
  });

  it('goes to idle and back', () => {
    const idle = { ...object, minReplicaCount: 4, idleReplicaCount: 1 };
    expect(pollOnce(idle, at(1_000, 6, { lastActiveAt: 0 })).replicas).toBe(1);
    expect(pollOnce(idle, at(1_000, 1, { isActive: true })).replicas).toBe(4);
    expect(pollOnce(idle, at(1_000, 1, { lastActiveAt: 0 })).replicas).toBe(1);
  });

  it('does not take an error for nothing to do', () => {
    const failed = at(1_000, 5, { isError: true, lastActiveAt: 0 });
    expect(pollOnce(object, failed).replicas).toBe(5);
    const fallback = { failureThreshold: 3, replicas: 4, behavior: 'static' } as const;
    expect(pollOnce({ ...object, fallback }, failed).replicas).toBe(5);
    // A fallback to 0 replicas says that nothing may run then.
    expect(pollOnce({ ...object, fallback: { ...fallback, replicas: 0 } }, failed).replicas).toBe(0);
  });

  it('does not note activity beside an error', () => {
    const outcome = pollOnce(object, at(500, 5, { isActive: true, isError: true, lastActiveAt: 100 }));
    expect(outcome).toEqual({ replicas: 5, lastActiveAt: 100 });
  });
});

describe('the autoscaler that KEDA makes', () => {
  it('never goes below 1', () => {
    expect(hpaBounds(object)).toEqual({ minReplicas: 1, maxReplicas: 100 });
    expect(hpaBounds({ ...object, minReplicaCount: 3 })).toEqual({ minReplicas: 3, maxReplicas: 100 });
  });

  it('is told whole thousandths', () => {
    expect(toQuantity(2.9999)).toBe(2.999);
  });
});

describe('a fallback', () => {
  const fallback = { failureThreshold: 2, replicas: 4, behavior: 'static' } as const;

  it('stands in after more failures in a row than its threshold', () => {
    const counter = createFallbackCounter(fallback);
    expect(counter.read(undefined, 10, 7)).toEqual({ error: true });
    expect(counter.read(undefined, 10, 7)).toEqual({ error: true });
    expect(counter.read(undefined, 10, 7)).toEqual({ value: 40, fellBack: true });
    expect(counter.read(12, 10, 7)).toEqual({ value: 12, fellBack: false });
    expect(counter.read(undefined, 10, 7)).toEqual({ error: true });
  });

  it.each([
    ['static', 4],
    ['currentReplicas', 7],
    ['currentReplicasIfHigher', 7],
    ['currentReplicasIfLower', 4],
  ] as const)('to %s gives what keeps %d of 7 replicas', (behavior, replicas) => {
    const counter = createFallbackCounter({ failureThreshold: 0, replicas: 4, behavior });
    expect(counter.read(undefined, 10, 7)).toEqual({ value: 10 * replicas, fellBack: true });
  });

  it('is not there unless asked for', () => {
    const counter = createFallbackCounter(undefined);
    for (let failure = 0; failure < 10; failure++) expect(counter.read(undefined, 10, 7)).toEqual({ error: true });
  });
});
