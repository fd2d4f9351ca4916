import { averageValueReplicas, largestProposal, utilizationReplicas, type PodUsage } from './hpa.js';
import { createHpa, type Behavior } from './hpa-behavior.js';
import { createFallbackCounter, hpaBounds, pollOnce, type Reading, type ScaledObject } from './keda.js';

/** What can be seen of a pool from outside, a moment later. */
export interface Observation {
  /** Jobs that wait or are at work, as RabbitMQ counts them with those that are not acknowledged. */
  readonly jobs: number;
  /** Their tokens, as the gateway counts them: `sluice_backlog_tokens`. */
  readonly tokens: number;
  /** Both by class, in the order of `JOB_CLASSES`. */
  readonly jobsByClass: readonly number[];
  readonly tokensByClass: readonly number[];
  /** Tokens that began to run, a second, over the last minute. */
  readonly tokensPerSecond: number;
}

/** What a ScaledObject looks at. */
export type Trigger =
  | {
      readonly kind: 'external';
      /** For each replica, above 0: a target of type `AverageValue`. */
      readonly target: number;
      /** Above this there is something to do. */
      readonly activation: number;
      readonly value: (observation: Observation) => number;
    }
  | {
      readonly kind: 'cpu';
      /** Percent of the request. */
      readonly target: number;
    };

type ExternalTrigger = Extract<Trigger, { readonly kind: 'external' }>;

/** How a pool is scaled. */
export interface Policy {
  readonly name: string;
  readonly object: ScaledObject;
  readonly behavior: Behavior;
  readonly triggers: readonly Trigger[];
}

/** How often the controller manager looks, in seconds: its default. */
export const SYNC_SECONDS = 15;

/** KEDA and the autoscaler that it makes, over virtual time in seconds. Both return the replicas from now on. */
export interface Autoscaler {
  /** KEDA looks whether there is anything to do, every `pollingInterval`. */
  poll(now: number, replicas: number, seen: Observation | undefined): number;
  /** The HorizontalPodAutoscaler looks how much there is to do, every 15 s. KEDA asks the source of a metric anew for it. */
  sync(now: number, replicas: number, seen: Observation | undefined, pods: readonly PodUsage[]): number;
}

/** @param policy whose metrics cannot be read when nothing is seen. */
export function createAutoscaler({ object, behavior, triggers }: Policy): Autoscaler {
  const hpa = createHpa({ ...hpaBounds(object), behavior });
  const external = triggers.filter((trigger) => trigger.kind === 'external');
  const counters = new Map(external.map((trigger) => [trigger, createFallbackCounter(object.fallback)]));
  let lastActiveAt: number | undefined;

  function read(trigger: ExternalTrigger, replicas: number, seen: Observation | undefined): Reading {
    const value = seen && trigger.value(seen);
    return counters.get(trigger)?.read(value, trigger.target, replicas) ?? { error: true };
  }

  function proposalOf(trigger: Trigger, replicas: number, seen: Observation | undefined, pods: readonly PodUsage[]) {
    const { target } = trigger;
    if (trigger.kind === 'cpu') return utilizationReplicas({ replicas, pods, target });
    const reading = read(trigger, replicas, seen);
    return 'error' in reading ? undefined : averageValueReplicas({ replicas, total: reading.value, target });
  }

  return {
    poll(now, replicas, seen) {
      const readings = external.map((trigger) => ({ trigger, reading: read(trigger, replicas, seen) }));
      const isActive = readings.some(
        ({ trigger, reading }) => !('error' in reading) && (reading.fellBack || reading.value > trigger.activation),
      );
      const outcome = pollOnce(object, {
        now,
        replicas,
        // n.b. CPU and memory alone can never be seen from 0, so they count as active always.
        isActive: isActive || external.length === 0,
        isError: readings.some(({ reading }) => 'error' in reading),
        createdAt: 0,
        lastActiveAt,
      });
      ({ lastActiveAt } = outcome);
      return outcome.replicas;
    },
    sync(now, replicas, seen, pods) {
      const proposals = triggers.map((trigger) => proposalOf(trigger, replicas, seen, pods));
      return hpa.decide(now, replicas, largestProposal(proposals, replicas));
    },
  };
}
