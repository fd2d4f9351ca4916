/** How far one change of a HorizontalPodAutoscaler may go within a period. */
export interface ScalingPolicy {
  readonly type: 'Pods' | 'Percent';
  readonly value: number;
  readonly periodSeconds: number;
}

export interface ScalingRules {
  readonly stabilizationWindowSeconds: number;
  /** Which policy counts: the one that allows the greatest change, the smallest, or no change at all. */
  readonly selectPolicy: 'Max' | 'Min' | 'Disabled';
  /** At least one. */
  readonly policies: readonly ScalingPolicy[];
}

export interface Behavior {
  readonly scaleUp: ScalingRules;
  readonly scaleDown: ScalingRules;
}

/** What Kubernetes fills in. */
export const DEFAULT_BEHAVIOR: Behavior = {
  scaleUp: {
    stabilizationWindowSeconds: 0,
    selectPolicy: 'Max',
    policies: [
      { type: 'Pods', value: 4, periodSeconds: 15 },
      { type: 'Percent', value: 100, periodSeconds: 15 },
    ],
  },
  scaleDown: {
    stabilizationWindowSeconds: 300,
    selectPolicy: 'Max',
    policies: [{ type: 'Percent', value: 100, periodSeconds: 15 }],
  },
};

export interface HpaSpec {
  /** At least 1: with KEDA it is KEDA that goes to 0 and back. */
  readonly minReplicas: number;
  readonly maxReplicas: number;
  readonly behavior: Behavior;
}

/** A number of replicas or a change of it, at a time in seconds. */
export interface Dated {
  readonly at: number;
  readonly replicas: number;
}

/** What an autoscaler remembers. */
export interface ScalingHistory {
  /** What the metrics asked for, before any bound. */
  readonly recommendations: readonly Dated[];
  /** Replicas added. */
  readonly ups: readonly Dated[];
  /** Replicas removed, above 0. */
  readonly downs: readonly Dated[];
}

/** An autoscaler between its looks at the metrics. */
export interface Hpa {
  /**
   * One look.
   *
   * @param now seconds, never less than before.
   * @param proposal what the metrics ask for; undefined when they cannot be read.
   * @returns the replicas from now on.
   */
  decide(now: number, replicas: number, proposal: number | undefined): number;
}

export function createHpa(spec: HpaSpec): Hpa {
  const { minReplicas, maxReplicas, behavior } = spec;
  let recommendations: readonly Dated[] | undefined;
  let ups: readonly Dated[] = [];
  let downs: readonly Dated[] = [];

  function bounded(now: number, replicas: number, proposal: number): number {
    const history = { recommendations: recommendations ?? [], ups, downs };
    const stable = stabilized({ now, replicas, proposal, history, behavior });
    const window = Math.max(behavior.scaleUp.stabilizationWindowSeconds, behavior.scaleDown.stabilizationWindowSeconds);
    recommendations = [
      ...history.recommendations.filter(({ at }) => at > now - window),
      { at: now, replicas: proposal },
    ];
    return limited({ now, replicas, wanted: stable, history, spec });
  }

  function remember(now: number, change: number): void {
    const { scaleUp, scaleDown } = behavior;
    if (change > 0) ups = [...within(ups, now, longestPeriod(scaleUp)), { at: now, replicas: change }];
    if (change < 0) downs = [...within(downs, now, longestPeriod(scaleDown)), { at: now, replicas: -change }];
  }

  return {
    decide(now, replicas, proposal) {
      recommendations ??= [{ at: now, replicas }];
      // Nobody but KEDA, or a person, brings it back from 0.
      if (replicas === 0) return 0;
      let next = replicas;
      if (replicas > maxReplicas) next = maxReplicas;
      else if (replicas < minReplicas) next = minReplicas;
      else if (proposal !== undefined) next = bounded(now, replicas, proposal);
      remember(now, next - replicas);
      return next;
    },
  };
}

export interface Stabilization {
  readonly now: number;
  readonly replicas: number;
  readonly proposal: number;
  readonly history: Pick<ScalingHistory, 'recommendations'>;
  readonly behavior: Behavior;
}

/** Up no further than the least that was asked for within its window, down no further than the most within its own. */
export function stabilized({ now, replicas, proposal, history, behavior }: Stabilization): number {
  const { scaleUp, scaleDown } = behavior;
  const least = within(history.recommendations, now, scaleUp.stabilizationWindowSeconds);
  const most = within(history.recommendations, now, scaleDown.stabilizationWindowSeconds);
  const up = Math.min(proposal, ...least.map((one) => one.replicas));
  const down = Math.max(proposal, ...most.map((one) => one.replicas));
  return Math.min(Math.max(replicas, up), down);
}

export interface Limits {
  readonly now: number;
  readonly replicas: number;
  readonly wanted: number;
  readonly history: Pick<ScalingHistory, 'ups' | 'downs'>;
  readonly spec: HpaSpec;
}

/** No further at once than the policies allow, and never beyond the bounds. */
export function limited({ now, replicas, wanted, history, spec }: Limits): number {
  const { minReplicas, maxReplicas, behavior } = spec;
  if (wanted > replicas) {
    const limit = upLimit(now, replicas, history, behavior.scaleUp);
    return Math.min(wanted, maxReplicas, Math.max(limit, replicas));
  }
  if (wanted < replicas) {
    const limit = downLimit(now, replicas, history, behavior.scaleDown);
    return Math.max(wanted, minReplicas, Math.min(limit, replicas));
  }
  return wanted;
}

type Changes = Pick<ScalingHistory, 'ups' | 'downs'>;

/** The most replicas that the policies of scaling up allow now. */
export function upLimit(now: number, replicas: number, changes: Changes, rules: ScalingRules): number {
  if (rules.selectPolicy === 'Disabled') return replicas;
  const limits = rules.policies.map(({ type, value, periodSeconds }) => {
    const start = replicasBefore(now, replicas, changes, periodSeconds);
    return type === 'Pods' ? start + value : Math.ceil(start * (1 + value / 100));
  });
  return rules.selectPolicy === 'Min' ? Math.min(...limits) : Math.max(...limits);
}

/** The fewest replicas that the policies of scaling down allow now. */
export function downLimit(now: number, replicas: number, changes: Changes, rules: ScalingRules): number {
  if (rules.selectPolicy === 'Disabled') return replicas;
  const limits = rules.policies.map(({ type, value, periodSeconds }) => {
    const start = replicasBefore(now, replicas, changes, periodSeconds);
    return type === 'Pods' ? start - value : Math.trunc(start * (1 - value / 100));
  });
  return rules.selectPolicy === 'Min' ? Math.max(...limits) : Math.min(...limits);
}

function replicasBefore(now: number, replicas: number, { ups, downs }: Changes, periodSeconds: number): number {
  return replicas - sum(within(ups, now, periodSeconds)) + sum(within(downs, now, periodSeconds));
}

function within(dated: readonly Dated[], now: number, seconds: number): readonly Dated[] {
  return dated.filter(({ at }) => at > now - seconds);
}

function sum(changes: readonly Dated[]): number {
  return changes.reduce((total, { replicas }) => total + replicas, 0);
}

function longestPeriod({ policies }: ScalingRules): number {
  return Math.max(...policies.map(({ periodSeconds }) => periodSeconds));
}
