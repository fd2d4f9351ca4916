/**
 * What KEDA decides itself, by its documentation and the source of 2.20: whether there are replicas at all, what number it tells the
 * HorizontalPodAutoscaler, and what it tells when a metric cannot be read. All else is up to that autoscaler.
 */

/** Fields of a ScaledObject, under their names there. */
export interface ScaledObject {
  readonly pollingInterval: number;
  readonly cooldownPeriod: number;
  readonly initialCooldownPeriod: number;
  readonly minReplicaCount: number;
  readonly idleReplicaCount?: number;
  readonly maxReplicaCount: number;
  readonly fallback?: Fallback;
}

export interface Fallback {
  readonly failureThreshold: number;
  readonly replicas: number;
  readonly behavior: 'static' | 'currentReplicas' | 'currentReplicasIfHigher' | 'currentReplicasIfLower';
}

/** KEDA's own defaults. */
export const KEDA_DEFAULTS = {
  pollingInterval: 30,
  cooldownPeriod: 300,
  initialCooldownPeriod: 0,
  minReplicaCount: 0,
  maxReplicaCount: 100,
} as const satisfies ScaledObject;

/** The bounds of the HorizontalPodAutoscaler that KEDA makes: it never goes below 1. */
export function hpaBounds({ minReplicaCount, maxReplicaCount }: ScaledObject) {
  return { minReplicas: Math.max(1, minReplicaCount), maxReplicas: maxReplicaCount };
}

export interface Poll {
  /** Seconds. */
  readonly now: number;
  readonly replicas: number;
  /** A trigger is above its activation value, which is another number than its target. */
  readonly isActive: boolean;
  /** A trigger could not be read, and no fallback stands in. */
  readonly isError: boolean;
  readonly createdAt: number;
  /** When a trigger was last seen active; undefined when never. */
  readonly lastActiveAt: number | undefined;
}

export interface PollOutcome {
  readonly replicas: number;
  readonly lastActiveAt: number | undefined;
}

/** One poll: from 0 (or idle) to the least and back, nothing else. */
export function pollOnce(object: ScaledObject, poll: Poll): PollOutcome {
  return poll.isActive ? whileActive(object, poll) : whileInactive(object, poll);
}

function whileActive({ minReplicaCount, idleReplicaCount }: ScaledObject, poll: Poll): PollOutcome {
  const { now, replicas, isError, lastActiveAt } = poll;
  if (replicas === 0 || (idleReplicaCount !== undefined && replicas < minReplicaCount)) {
    return { replicas: Math.max(1, minReplicaCount), lastActiveAt: now };
  }
  // n.b. an error of another trigger keeps the activity from being noted.
  return { replicas, lastActiveAt: isError ? lastActiveAt : now };
}

function whileInactive(object: ScaledObject, poll: Poll): PollOutcome {
  const { minReplicaCount, idleReplicaCount, fallback } = object;
  const { replicas, isError, lastActiveAt } = poll;
  const stays = { replicas, lastActiveAt };
  if (isError && (!fallback || fallback.replicas !== 0)) return stays;
  const isAboveIdle =
    idleReplicaCount === undefined ? minReplicaCount === 0 && replicas > 0 : replicas > idleReplicaCount;
  if (isAboveIdle) {
    return hasCooledDown(object, poll) ? { replicas: idleReplicaCount ?? minReplicaCount, lastActiveAt } : stays;
  }
  if (idleReplicaCount === undefined && replicas < minReplicaCount) return { replicas: minReplicaCount, lastActiveAt };
  return stays;
}

function hasCooledDown({ cooldownPeriod, initialCooldownPeriod }: ScaledObject, poll: Poll): boolean {
  const { now, createdAt, lastActiveAt } = poll;
  return lastActiveAt === undefined ? createdAt + initialCooldownPeriod < now : lastActiveAt + cooldownPeriod < now;
}

/** A metric as it travels: whole thousandths, cut off. */
export function toQuantity(value: number): number {
  return Math.trunc(value * 1_000) / 1_000;
}

/** A metric after the fallback: a value, or an error that reaches the autoscaler. */
export type Reading = { readonly value: number; readonly fellBack: boolean } | { readonly error: true };

/** Counts the failures of one metric. */
export interface FallbackCounter {
  /**
   * @param value undefined when it could not be read.
   * @param target of type `AverageValue`, per replica.
   */
  read(value: number | undefined, target: number, replicas: number): Reading;
}

/** n.b. every read counts, those of the autoscaler each 15 s as well as the polls. */
export function createFallbackCounter(fallback: Fallback | undefined): FallbackCounter {
  let failures = 0;
  return {
    read(value, target, replicas) {
      if (value !== undefined) {
        failures = 0;
        return { value: toQuantity(value), fellBack: false };
      }
      if (!fallback) return { error: true };
      failures += 1;
      if (failures <= fallback.failureThreshold) return { error: true };
      return { value: toQuantity(target * fallbackReplicas(fallback, replicas)), fellBack: true };
    },
  };
}

export function fallbackReplicas({ behavior, replicas: wanted }: Fallback, replicas: number): number {
  switch (behavior) {
    case 'static':
      return wanted;
    case 'currentReplicas':
      return replicas;
    case 'currentReplicasIfHigher':
      return Math.max(wanted, replicas);
    case 'currentReplicasIfLower':
      return Math.min(wanted, replicas);
  }
}
