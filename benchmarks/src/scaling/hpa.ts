/**
 * How many replicas each kind of metric asks for, by the rules of the HorizontalPodAutoscaler (autoscaling/v2).
 *
 * Source: the Kubernetes documentation, "Algorithm details", and the replica calculator of its controller manager (1.34).
 * Quantities of metrics are counted in thousandths there, and so are they here where that decides.
 */

/** Change that is too small to act on, as a share of the target: the controller manager's default. */
export const TOLERANCE = 0.1;

export interface AverageValue {
  /** Pods that exist, ready or not. */
  readonly replicas: number;
  /** The metric over all pods. */
  readonly total: number;
  /** Per pod, above 0. */
  readonly target: number;
  readonly tolerance?: number;
}

/** An external metric with a target of type `AverageValue`, which is what KEDA asks for unless told otherwise. */
export function averageValueReplicas({ replicas, total, target, tolerance = TOLERANCE }: AverageValue): number {
  // n.b. without pods the ratio is Infinity or NaN, and so never within the tolerance.
  if (isWithin(total / (target * replicas), tolerance)) return replicas;
  return Math.ceil(total / target);
}

export interface Value {
  readonly replicas: number;
  readonly readyReplicas: number;
  readonly value: number;
  /** Of the metric as it is, above 0. */
  readonly target: number;
  readonly tolerance?: number;
}

/** An external metric with a target of type `Value`: pods that are not ready do not count. */
export function valueReplicas({ replicas, readyReplicas, value, target, tolerance = TOLERANCE }: Value): number {
  const ratio = value / target;
  if (replicas === 0) return Math.ceil(ratio);
  return isWithin(ratio, tolerance) ? replicas : Math.ceil(ratio * readyReplicas);
}

/** What the metrics server tells of a pod's CPU. */
export interface PodUsage {
  /** `unready`: pending, or not ready yet while it starts. `missing`: runs, and there is no figure of it. */
  readonly state: 'ready' | 'unready' | 'missing';
  /** Thousandths of a core; of no account unless ready. */
  readonly usage: number;
  /** Thousandths of a core that the pod requests, above 0. */
  readonly request: number;
}

export interface Utilization {
  readonly replicas: number;
  readonly pods: readonly PodUsage[];
  /** Percent of the request. */
  readonly target: number;
  readonly tolerance?: number;
}

/**
 * A resource metric with a target of type `Utilization`. Whoever cannot be measured is taken for what changes least: on the way
 * up pods without a figure use nothing, on the way down all that they request.
 *
 * @returns undefined when no pod can be measured.
 */
export function utilizationReplicas(options: Utilization): number | undefined {
  const { replicas, pods, target, tolerance = TOLERANCE } = options;
  const ready = pods.filter(({ state }) => state === 'ready');
  const missing = pods.filter(({ state }) => state === 'missing');
  const unready = pods.filter(({ state }) => state === 'unready');
  if (ready.length === 0) return undefined;
  const ratio = usageRatio(ready, target);
  const upWithUnready = unready.length > 0 && ratio > 1;
  if (!upWithUnready && missing.length === 0) {
    return isWithin(ratio, tolerance) ? replicas : Math.ceil(ratio * ready.length);
  }
  const considered = [
    ...ready,
    ...(ratio === 1 ? [] : missing.map((pod) => ({ ...pod, usage: ratio < 1 ? assumedUsage(pod, target) : 0 }))),
    ...(upWithUnready ? unready.map((pod) => ({ ...pod, usage: 0 })) : []),
  ];
  return reconsidered({
    ratio,
    newRatio: usageRatio(considered, target),
    count: considered.length,
    replicas,
    tolerance,
  });
}

function assumedUsage({ request }: PodUsage, target: number): number {
  return Math.trunc((request * Math.max(100, target)) / 100);
}

interface Reconsidered {
  readonly ratio: number;
  readonly newRatio: number;
  readonly count: number;
  readonly replicas: number;
  readonly tolerance: number;
}

/** What is assumed of others may make a change smaller, and never turn it around. */
function reconsidered({ ratio, newRatio, count, replicas, tolerance }: Reconsidered): number {
  const turned = (ratio < 1 && newRatio > 1) || (ratio > 1 && newRatio < 1);
  if (isWithin(newRatio, tolerance) || turned) return replicas;
  const wanted = Math.ceil(newRatio * count);
  return (newRatio < 1 && wanted > replicas) || (newRatio > 1 && wanted < replicas) ? replicas : wanted;
}

/** n.b. utilisation is a whole number of percent, cut off. */
function usageRatio(pods: readonly PodUsage[], target: number): number {
  const usage = pods.reduce((sum, pod) => sum + pod.usage, 0);
  const request = pods.reduce((sum, pod) => sum + pod.request, 0);
  return Math.trunc((usage * 100) / request) / target;
}

function isWithin(ratio: number, tolerance: number): boolean {
  return 1 - tolerance <= ratio && ratio <= 1 + tolerance;
}

/**
 * What several metrics ask for together: the most.
 *
 * @param proposals undefined for a metric that could not be read.
 * @returns undefined when nothing may change: no metric could be read, or one could not while the others ask for fewer.
 */
export function largestProposal(proposals: readonly (number | undefined)[], replicas: number): number | undefined {
  const known = proposals.filter((proposal) => proposal !== undefined);
  if (known.length === 0) return undefined;
  const most = Math.max(...known);
  return known.length < proposals.length && most < replicas ? undefined : most;
}
