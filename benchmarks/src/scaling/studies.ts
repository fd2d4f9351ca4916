import { JOB_CLASSES } from '@sluice/contracts';
import {
  RECOMMENDED,
  RECOMMENDED_POLICY,
  createPolicy,
  type PolicyName,
  type PolicySettings,
  type Speed,
} from './policies.js';
import type { Fallback } from './keda.js';
import type { Scenario } from './scenarios.js';
import { simulate } from './simulation.js';
import type { Service } from './service.js';
import type { Outcome } from './tally.js';
import { meanJobTokens, type Workload } from './workload.js';

/** A change of what is recommended, and what it is called. */
export interface Variant {
  readonly name: string;
  readonly policy: PolicyName;
  readonly settings: PolicySettings;
  /** When the metrics cannot be read, in seconds. */
  readonly outage?: { readonly from: number; readonly until: number };
}

/** How old the numbers are that scalers see, in seconds: RabbitMQ counts its queues so often. */
const SAMPLE_SECONDS = 5;
export const SEED = 20_261_121;

/** Runs one scenario under one policy. */
export function study(scenario: Scenario, { policy, settings, outage }: Variant, service: Service): Outcome {
  const { workload, startTime, replicas, minReplicaCount } = scenario;
  const speed = speedOf(service, workload.shapes);
  const object = { ...settings.object, minReplicaCount: minReplicaCount ?? settings.object.minReplicaCount };
  return simulate({
    workload,
    service,
    policy: createPolicy(policy, { ...settings, object }, speed),
    seed: SEED,
    replicas,
    startTime,
    sampleSeconds: SAMPLE_SECONDS,
    outage,
  });
}

/** What a worker does of jobs of these shapes. */
export function speedOf(service: Pick<Service, 'capacityTokensPerSecond'>, shapes: Workload['shapes']): Speed {
  const { capacityTokensPerSecond } = service;
  const jobTokensByClass = JOB_CLASSES.map((name) => shapes[name].texts * shapes[name].meanTokens);
  return { capacityTokensPerSecond, jobTokens: meanJobTokens(shapes), jobTokensByClass };
}

/** A policy with the recommended numbers. */
export function withDefaults(policy: PolicyName): Variant {
  return { name: policy, policy, settings: RECOMMENDED };
}

type Change = (settings: PolicySettings) => PolicySettings;

function changed(name: string, change: Change): Variant {
  return { name, policy: RECOMMENDED_POLICY, settings: change(RECOMMENDED) };
}

function withWindow(seconds: number, percent: number): Change {
  return (settings) => ({
    ...settings,
    behavior: {
      ...settings.behavior,
      scaleDown: {
        stabilizationWindowSeconds: seconds,
        selectPolicy: 'Max',
        policies: [
          { type: 'Pods', value: 1, periodSeconds: 60 },
          { type: 'Percent', value: percent, periodSeconds: 60 },
        ],
      },
    },
  });
}

function withUp(pods: number, percent: number, periodSeconds: number): Change {
  return (settings) => ({
    ...settings,
    behavior: {
      ...settings.behavior,
      scaleUp: {
        ...settings.behavior.scaleUp,
        policies: [
          { type: 'Pods', value: pods, periodSeconds },
          { type: 'Percent', value: percent, periodSeconds },
        ],
      },
    },
  });
}

/** One of the recommended numbers changed at a time, for bursts. */
export const BURST_VARIANTS: readonly Variant[] = [
  changed('as recommended', (settings) => settings),
  ...[
    [0.01, 0.4, 25],
    [1, 2, 24],
    [15, 30, 360],
  ].map((classSeconds) =>
    changed(`class seconds ${classSeconds.join(', ')}`, (settings) => ({ ...settings, classSeconds })),
  ),
  ...[10, 60].map((tokenSeconds) =>
    changed(`token seconds ${tokenSeconds}`, (settings) => ({ ...settings, tokenSeconds })),
  ),
  ...[50, 85].map((usedPercent) => changed(`CPU ${usedPercent} %`, (settings) => ({ ...settings, usedPercent }))),
  changed('down: window 0 s', withWindow(0, 50)),
  changed('down: window 300 s', withWindow(300, 50)),
  changed('down: 10 % a minute', withWindow(120, 10)),
  changed('down: all at once', withWindow(120, 100)),
  changed('up: 1 pod or 25 % in 15 s', withUp(1, 25, 15)),
  changed('up: 4 pods or 100 % in 60 s', withUp(4, 100, 60)),
];

/** The same for work that comes rarely. */
export const RARE_VARIANTS: readonly Variant[] = [
  changed('as recommended', (settings) => settings),
  ...[15, 30].map((pollingInterval) =>
    changed(`pollingInterval ${pollingInterval} s`, (settings) => ({
      ...settings,
      object: { ...settings.object, pollingInterval },
    })),
  ),
  ...[60, 900, 2_700].map((cooldownPeriod) =>
    changed(`cooldownPeriod ${cooldownPeriod} s`, (settings) => ({
      ...settings,
      object: { ...settings.object, cooldownPeriod },
    })),
  ),
];

/** From before the second burst until after it. */
const OUTAGE = { from: 1_440, until: 2_040 };

function withoutFallback(settings: PolicySettings): PolicySettings {
  const { pollingInterval, cooldownPeriod, initialCooldownPeriod, minReplicaCount, maxReplicaCount } = settings.object;
  return {
    ...settings,
    object: { pollingInterval, cooldownPeriod, initialCooldownPeriod, minReplicaCount, maxReplicaCount },
  };
}

function withFallback(behavior: Fallback['behavior'], replicas: number): Change {
  return (settings) => ({
    ...settings,
    object: { ...settings.object, fallback: { failureThreshold: 3, replicas, behavior } },
  });
}

function blind(policy: PolicyName, name: string, change: Change): Variant {
  return { name: `${policy}: ${name}`, policy, settings: change(RECOMMENDED), outage: OUTAGE };
}

/** What becomes of a burst that no metric from outside tells of any more. */
export const OUTAGE_VARIANTS: readonly Variant[] = (['jobs by class, tokens', RECOMMENDED_POLICY] as const).flatMap(
  (policy) => [
    blind(policy, 'no fallback', withoutFallback),
    blind(policy, 'static, 2', withFallback('static', 2)),
    blind(policy, 'currentReplicasIfHigher, 2', withFallback('currentReplicasIfHigher', 2)),
  ],
);
