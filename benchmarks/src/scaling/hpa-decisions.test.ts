import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { averageValueReplicas, utilizationReplicas, type AverageValue, type PodUsage } from './hpa.js';
import { limited, stabilized, type ScalingRules } from './hpa-behavior.js';

interface Ago {
  readonly ago: number;
  readonly replicas: number;
}

/** What the controller manager of Kubernetes itself decides; the file says how it was asked. */
interface Decisions {
  readonly averageValue: readonly (AverageValue & { readonly result: number })[];
  readonly utilization: readonly {
    readonly pods: readonly PodUsage[];
    readonly target: number;
    readonly result: number | null;
  }[];
  readonly normalize: readonly {
    readonly scaleUp: ScalingRules;
    readonly scaleDown: ScalingRules;
    readonly recommendations: readonly Ago[];
    readonly ups: readonly Ago[];
    readonly downs: readonly Ago[];
    readonly replicas: number;
    readonly proposal: number;
    readonly minReplicas: number;
    readonly maxReplicas: number;
    readonly result: number;
  }[];
}

const path = new URL('../../test/fixtures/hpa-decisions.json', import.meta.url);
const decisions = JSON.parse(readFileSync(path, 'utf8')) as Decisions;

const dated = (ages: readonly Ago[]) => ages.map(({ ago, replicas }) => ({ at: -ago, replicas }));

describe('the decisions of the controller manager', () => {
  it('for a target of type AverageValue', () => {
    expect(decisions.averageValue.map((options) => averageValueReplicas(options))).toEqual(
      decisions.averageValue.map(({ result }) => result),
    );
  });

  it('for a target of type Utilization', () => {
    const ours = decisions.utilization.map(({ pods, target }) =>
      utilizationReplicas({ replicas: pods.length, pods, target }),
    );
    expect(ours).toEqual(decisions.utilization.map(({ result }) => result ?? undefined));
  });

  it('within windows, policies and bounds', () => {
    const ours = decisions.normalize.map((one) => {
      const { scaleUp, scaleDown, replicas, proposal, minReplicas, maxReplicas } = one;
      const behavior = { scaleUp, scaleDown };
      const history = { recommendations: dated(one.recommendations), ups: dated(one.ups), downs: dated(one.downs) };
      const wanted = stabilized({ now: 0, replicas, proposal, history, behavior });
      return limited({ now: 0, replicas, wanted, history, spec: { minReplicas, maxReplicas, behavior } });
    });
    expect(ours).toEqual(decisions.normalize.map(({ result }) => result));
  });
});
