import type { Observation, Policy, Trigger } from './autoscaler.js';
import { DEFAULT_BEHAVIOR, type Behavior } from './hpa-behavior.js';
import type { ScaledObject } from './keda.js';
import type { Service } from './service.js';

/** What a policy is made of. Times in seconds. */
export interface PolicySettings {
  /** Work of each class that a replica may have before it, by what a worker does at its best; in the order of `JOB_CLASSES`. */
  readonly classSeconds: readonly number[];
  /** The same of all tokens together. */
  readonly tokenSeconds: number;
  /** Percent of what a replica has that may be in use: of its CPU request, or of what its cost curve says it can do. */
  readonly usedPercent: number;
  readonly object: ScaledObject;
  readonly behavior: Behavior;
}

/** The numbers to begin with (decision 27). */
export const RECOMMENDED: PolicySettings = {
  classSeconds: [5, 10, 120],
  tokenSeconds: 30,
  usedPercent: 70,
  object: {
    pollingInterval: 5,
    cooldownPeriod: 300,
    initialCooldownPeriod: 0,
    minReplicaCount: 1,
    maxReplicaCount: 100,
    fallback: { failureThreshold: 3, replicas: 2, behavior: 'static' },
  },
  behavior: {
    scaleUp: DEFAULT_BEHAVIOR.scaleUp,
    scaleDown: {
      stabilizationWindowSeconds: 120,
      selectPolicy: 'Max',
      policies: [
        { type: 'Pods', value: 1, periodSeconds: 60 },
        { type: 'Percent', value: 50, periodSeconds: 60 },
      ],
    },
  },
};

/** Names of the policies that are compared. */
export const POLICY_NAMES = [
  'jobs',
  'jobs by class',
  'tokens',
  'jobs by class, tokens',
  'CPU',
  'jobs by class, tokens, CPU',
  'tokens by class + throughput',
] as const;
export type PolicyName = (typeof POLICY_NAMES)[number];

/** The one to begin with (decision 27). */
export const RECOMMENDED_POLICY = 'jobs by class, tokens, CPU' satisfies PolicyName;

/** What a worker does, and what jobs are like. */
export interface Speed extends Pick<Service, 'capacityTokensPerSecond'> {
  /** Tokens of a job, by which a number of jobs stands for work: of all, and of each class. */
  readonly jobTokens: number;
  readonly jobTokensByClass: readonly number[];
}

export function createPolicy(name: PolicyName, settings: PolicySettings, speed: Speed): Policy {
  const { object, behavior } = settings;
  return { name, object, behavior, triggers: triggersOf(name, settings, speed) };
}

type Need = (seen: Observation) => number;

/** n.b. KEDA counts in thousandths of a replica and cuts off the rest: with more a single job would wake nobody. */
const MOST_JOBS = 1_000;

/** Jobs of each class that a replica may have before it: the chart's `jobsPerReplica`. */
export function jobsPerReplica({ classSeconds }: PolicySettings, speed: Speed): readonly number[] {
  const { capacityTokensPerSecond, jobTokensByClass } = speed;
  return classSeconds.map((seconds, at) =>
    Math.min(MOST_JOBS, (seconds * capacityTokensPerSecond) / (jobTokensByClass[at] ?? 1)),
  );
}

function triggersOf(name: PolicyName, settings: PolicySettings, speed: Speed): readonly Trigger[] {
  const { classSeconds, tokenSeconds, usedPercent } = settings;
  const { capacityTokensPerSecond: capacity, jobTokens } = speed;
  const perReplica = jobsPerReplica(settings, speed);
  const jobs: Need = (seen) => (seen.jobs * jobTokens) / (tokenSeconds * capacity);
  const classJobs: Need = (seen) => weighted(seen.jobsByClass, perReplica);
  const tokens: Need = (seen) => seen.tokens / (tokenSeconds * capacity);
  const classTokens: Need = (seen) => weighted(seen.tokensByClass, classSeconds) / capacity;
  const throughput: Need = (seen) => (100 * seen.tokensPerSecond) / (usedPercent * capacity);
  const cpu: Trigger = { kind: 'cpu', target: usedPercent };
  switch (name) {
    case 'jobs':
      return [external(jobs)];
    case 'jobs by class':
      return [external(classJobs)];
    case 'tokens':
      return [external(tokens)];
    case 'jobs by class, tokens':
      return [external((seen) => Math.max(classJobs(seen), tokens(seen)))];
    case 'CPU':
      return [cpu];
    case 'jobs by class, tokens, CPU':
      return [external((seen) => Math.max(classJobs(seen), tokens(seen))), cpu];
    case 'tokens by class + throughput':
      return [external((seen) => classTokens(seen) + throughput(seen))];
  }
}

function weighted(amounts: readonly number[], perReplica: readonly number[]): number {
  return amounts.reduce((sum, amount, at) => sum + amount / (perReplica[at] ?? 1), 0);
}

/** Replicas that are needed, by a formula, of which each has 1: KEDA's `scalingModifiers`. */
function external(value: Need): Trigger {
  return { kind: 'external', target: 1, activation: 0, value };
}
