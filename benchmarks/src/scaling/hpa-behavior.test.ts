import { describe, expect, it } from '@jest/globals';
import { createHpa, DEFAULT_BEHAVIOR, downLimit, upLimit, type Behavior, type ScalingRules } from './hpa-behavior.js';

const none = { ups: [], downs: [] };
const rules = (
  policies: ScalingRules['policies'],
  selectPolicy: ScalingRules['selectPolicy'] = 'Max',
): ScalingRules => ({
  stabilizationWindowSeconds: 0,
  selectPolicy,
  policies,
});
const fourPods = { type: 'Pods', value: 4, periodSeconds: 60 } as const;
const tenPercent = { type: 'Percent', value: 10, periodSeconds: 60 } as const;

describe('policies', () => {
  // The example of the Kubernetes documentation: down by 4 pods or 10 % a minute, from 80 pods.
  it.each([
    [80, 72],
    [72, 64],
    [45, 40],
    [41, 36],
    [40, 36],
    [36, 32],
  ])('from %d pods down to %d', (replicas, limit) => {
    expect(downLimit(0, replicas, none, rules([fourPods, tenPercent]))).toBe(limit);
  });

  it('takes the smallest change where it is asked to', () => {
    expect(downLimit(0, 80, none, rules([fourPods, tenPercent], 'Min'))).toBe(76);
    expect(upLimit(0, 80, none, rules([fourPods, tenPercent], 'Min'))).toBe(84);
    expect(upLimit(0, 80, none, rules([fourPods, tenPercent]))).toBe(88);
  });

  it('rounds a share up on the way up, so one pod can become two', () => {
    expect(upLimit(0, 1, none, rules([tenPercent]))).toBe(2);
  });

  it('does nothing where scaling is disabled', () => {
    expect(upLimit(0, 8, none, rules([fourPods], 'Disabled'))).toBe(8);
    expect(downLimit(0, 8, none, rules([fourPods], 'Disabled'))).toBe(8);
  });

  it('counts from where the period began', () => {
    const history = { ups: [{ at: 30, replicas: 3 }], downs: [{ at: 50, replicas: 1 }] };
    expect(upLimit(60, 10, history, rules([fourPods]))).toBe(12);
    // What happened exactly a period ago is over.
    expect(upLimit(90, 10, history, rules([fourPods]))).toBe(15);
  });
});

describe('createHpa', () => {
  const spec = { minReplicas: 1, maxReplicas: 50, behavior: DEFAULT_BEHAVIOR };

  it('adds four pods or doubles in 15 s, whichever is more', () => {
    const hpa = createHpa(spec);
    expect(hpa.decide(0, 1, 40)).toBe(5);
    expect(hpa.decide(15, 5, 40)).toBe(10);
    expect(hpa.decide(30, 10, 40)).toBe(20);
    expect(hpa.decide(45, 20, 40)).toBe(40);
  });

  it('adds no more before the period is over', () => {
    const hpa = createHpa(spec);
    expect(hpa.decide(0, 1, 40)).toBe(5);
    expect(hpa.decide(14, 5, 40)).toBe(5);
  });

  it('keeps what was asked for in the last five minutes before it removes any', () => {
    const hpa = createHpa(spec);
    expect(hpa.decide(0, 10, 10)).toBe(10);
    expect(hpa.decide(15, 10, 2)).toBe(10);
    expect(hpa.decide(299, 10, 2)).toBe(10);
    expect(hpa.decide(300, 10, 2)).toBe(2);
  });

  it('waits on the way up where it is asked to', () => {
    const behavior: Behavior = {
      ...DEFAULT_BEHAVIOR,
      scaleUp: { ...DEFAULT_BEHAVIOR.scaleUp, stabilizationWindowSeconds: 30 },
    };
    const hpa = createHpa({ ...spec, behavior });
    // It begins with a recommendation of what there is.
    expect(hpa.decide(0, 2, 6)).toBe(2);
    expect(hpa.decide(15, 2, 5)).toBe(2);
    expect(hpa.decide(30, 2, 6)).toBe(5);
  });

  it('stays within its bounds', () => {
    const hpa = createHpa({ ...spec, minReplicas: 2, maxReplicas: 8 });
    expect(hpa.decide(0, 1, undefined)).toBe(2);
    expect(hpa.decide(15, 8, 30)).toBe(8);
    expect(hpa.decide(30, 9, 30)).toBe(8);
    expect(hpa.decide(1_000, 8, 0)).toBe(2);
  });

  it('stays when the metrics cannot be read, and at 0 whatever they say', () => {
    const hpa = createHpa(spec);
    expect(hpa.decide(0, 7, undefined)).toBe(7);
    expect(hpa.decide(15, 0, 9)).toBe(0);
  });
});
