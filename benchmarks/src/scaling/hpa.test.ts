import { describe, expect, it } from '@jest/globals';
import { averageValueReplicas, largestProposal, utilizationReplicas, valueReplicas, type PodUsage } from './hpa.js';

describe('a target of type AverageValue', () => {
  it.each([
    ['twice the target doubles', { replicas: 3, total: 600, target: 100 }, 6],
    ['half the target halves, rounded up', { replicas: 3, total: 150, target: 100 }, 2],
    ['a tenth above is no change', { replicas: 10, total: 1_100, target: 100 }, 10],
    ['a little more than a tenth above is one', { replicas: 10, total: 1_101, target: 100 }, 12],
    ['a tenth below is no change', { replicas: 10, total: 900, target: 100 }, 10],
    ['a little more than a tenth below is one', { replicas: 10, total: 899, target: 100 }, 9],
    ['nothing asks for none', { replicas: 4, total: 0, target: 100 }, 0],
    ['without pods there is no tolerance', { replicas: 0, total: 1, target: 100 }, 1],
    ['nothing and no pods stay nothing', { replicas: 0, total: 0, target: 100 }, 0],
  ])('%s', (_what, options, replicas) => {
    expect(averageValueReplicas(options)).toBe(replicas);
  });
});

describe('a target of type Value', () => {
  // The two examples of the Kubernetes documentation: 200m where 100m is desired doubles, 50m halves.
  it.each([
    ['twice the target doubles', { replicas: 4, readyReplicas: 4, value: 0.2, target: 0.1 }, 8],
    ['half the target halves', { replicas: 4, readyReplicas: 4, value: 0.05, target: 0.1 }, 2],
    ['only ready pods count', { replicas: 4, readyReplicas: 2, value: 200, target: 100 }, 4],
    ['within a tenth it stays, ready or not', { replicas: 4, readyReplicas: 1, value: 105, target: 100 }, 4],
    ['without pods the ratio itself counts', { replicas: 0, readyReplicas: 0, value: 250, target: 100 }, 3],
  ])('%s', (_what, options, replicas) => {
    expect(valueReplicas(options)).toBe(replicas);
  });
});

describe('a target of type Utilization', () => {
  const ready = (usage: number): PodUsage => ({ state: 'ready', usage, request: 1_000 });
  const unready: PodUsage = { state: 'unready', usage: 0, request: 1_000 };
  const missing: PodUsage = { state: 'missing', usage: 0, request: 1_000 };

  it.each([
    ['all pods at twice the target', [ready(800), ready(800)], 40, 4],
    ['all pods at half of it', [ready(300), ready(300)], 60, 1],
    ['a tenth above is no change', [ready(770), ready(770)], 70, 2],
    ['pods that start use nothing on the way up', [ready(900), ready(900), unready], 50, 4],
    ['so many that start that there are enough', [ready(900), unready, unready], 50, 3],
    ['pods that start do not count on the way down', [ready(100), ready(100), unready], 50, 1],
    ['a pod without a figure uses nothing on the way up', [ready(900), ready(900), missing], 50, 4],
    ['and all that it requests on the way down', [ready(100), ready(100), missing], 50, 3],
    ['which may leave fewer', [ready(0), ready(0), ready(0), missing], 50, 2],
  ])('%s', (_what, pods, target, replicas) => {
    expect(utilizationReplicas({ replicas: pods.length, pods, target })).toBe(replicas);
  });

  it('says nothing when no pod can be measured', () => {
    expect(utilizationReplicas({ replicas: 1, pods: [unready], target: 50 })).toBeUndefined();
  });
});

describe('several metrics', () => {
  it.each([
    ['the most counts', [2, 7, 3], 4, 7],
    ['one that cannot be read does not hold up growth', [undefined, 7], 4, 7],
    ['it does hold up a decrease', [undefined, 3], 4, undefined],
    ['it may stay as it is', [undefined, 4], 4, 4],
    ['none can be read', [undefined, undefined], 4, undefined],
  ])('%s', (_what, proposals, replicas, outcome) => {
    expect(largestProposal(proposals, replicas)).toBe(outcome);
  });
});
