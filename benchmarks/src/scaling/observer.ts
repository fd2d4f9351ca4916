import type { Observation } from './autoscaler.js';
import type { Pod } from './fleet.js';
import type { PodUsage } from './hpa.js';

/** What is so at a moment. */
export interface Moment {
  /** In the order of `JOB_CLASSES`. */
  readonly jobsByClass: readonly number[];
  readonly tokensByClass: readonly number[];
  /** Tokens that have begun to run since the beginning. */
  readonly begunTokens: number;
}

/** What scalers are told: of a moment ago, as management plugin, Prometheus and metrics server have it. */
export interface Observer {
  sample(now: number, moment: Moment): void;
  /** Undefined before the first sample. */
  readonly latest: Observation | undefined;
  /** Measures the pods' CPU since it was last called, which is a round of the metrics server. */
  measure(now: number, pods: readonly Pod[]): void;
  readonly usage: readonly PodUsage[];
}

/** The `[1m]` of a rate, in seconds. */
const RATE_SECONDS = 60;
/** Thousandths of a core that a process requests. */
const CORE = 1_000;

export function createObserver(processes: number): Observer {
  let samples: readonly { readonly at: number; readonly begunTokens: number }[] = [];
  let latest: Observation | undefined;
  let usage: readonly PodUsage[] = [];
  let measuredAt = 0;
  let busyBefore = new Map<Pod, number>();

  function usageOf(pod: Pod, seconds: number): PodUsage {
    const request = CORE * processes;
    // A pod that became ready since the last round has no whole window yet.
    if (pod.state !== 'ready' || pod.readyAt > measuredAt) return { state: 'unready', usage: 0, request };
    const busy = pod.busySeconds - (busyBefore.get(pod) ?? 0);
    return { state: 'ready', usage: Math.min(request, Math.trunc((CORE * busy) / seconds)), request };
  }

  return {
    get latest() {
      return latest;
    },
    get usage() {
      return usage;
    },
    sample(now, { jobsByClass, tokensByClass, begunTokens }) {
      samples = [...samples.filter(({ at }) => at >= now - RATE_SECONDS), { at: now, begunTokens }];
      const first = samples[0];
      const seconds = now - (first?.at ?? now);
      const tokensPerSecond = seconds > 0 ? (begunTokens - (first?.begunTokens ?? 0)) / seconds : 0;
      latest = {
        jobs: total(jobsByClass),
        tokens: total(tokensByClass),
        jobsByClass,
        tokensByClass,
        tokensPerSecond,
      };
    },
    measure(now, pods) {
      const seconds = now - measuredAt;
      const counted = pods.filter(({ state }) => state === 'starting' || state === 'ready');
      usage = seconds > 0 ? counted.map((pod) => usageOf(pod, seconds)) : [];
      busyBefore = new Map(pods.map((pod) => [pod, pod.busySeconds]));
      measuredAt = now;
    },
  };
}

function total(numbers: readonly number[]): number {
  return numbers.reduce((sum, one) => sum + one, 0);
}
