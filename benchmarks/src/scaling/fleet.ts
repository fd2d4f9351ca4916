/** A pod of a Deployment of workers. */
export interface Pod {
  readonly id: number;
  readonly createdAt: number;
  state: 'starting' | 'ready' | 'draining' | 'gone';
  /** When it became ready; Infinity before. */
  readyAt: number;
  /** Inference processes at work. */
  busy: number;
  /** Seconds of work that its processes have begun. */
  busySeconds: number;
}

/** The pods of one Deployment. */
export interface Fleet {
  /** All but those that are gone. */
  readonly pods: readonly Pod[];
  /** Pods that are not being deleted: what a Deployment counts. */
  readonly replicas: number;
  readonly ready: number;
  /**
   * Makes and deletes pods until there are so many. Of those to delete, pods that are not ready go first, then those that became
   * ready last, as a ReplicaSet chooses.
   *
   * @returns pods made just now.
   */
  scaleTo(replicas: number, now: number): readonly Pod[];
  becomeReady(pod: Pod, now: number): void;
  /** Tells that a draining pod has done what it had begun. */
  leave(pod: Pod): void;
}

export function createFleet(): Fleet {
  let pods: readonly Pod[] = [];
  let made = 0;

  const counted = (): readonly Pod[] => pods.filter(({ state }) => state === 'starting' || state === 'ready');

  function make(now: number): Pod {
    made += 1;
    return { id: made, createdAt: now, state: 'starting', readyAt: Infinity, busy: 0, busySeconds: 0 };
  }

  function leave(pod: Pod): void {
    pod.state = 'gone';
    pods = pods.filter((other) => other !== pod);
  }

  function remove(count: number): void {
    // A pod that is not ready has readyAt Infinity, and so is the first to go.
    const victims = [...counted()].sort((a, b) => order(b) - order(a)).slice(0, count);
    for (const pod of victims) {
      if (pod.busy === 0) leave(pod);
      else pod.state = 'draining';
    }
  }

  return {
    get pods() {
      return pods;
    },
    get replicas() {
      return counted().length;
    },
    get ready() {
      return pods.filter(({ state }) => state === 'ready').length;
    },
    scaleTo(replicas, now) {
      const change = replicas - counted().length;
      if (change < 0) remove(-change);
      const added = Array.from({ length: Math.max(0, change) }, () => make(now));
      pods = [...pods, ...added];
      return added;
    },
    becomeReady(pod, now) {
      if (pod.state !== 'starting') return;
      pod.state = 'ready';
      pod.readyAt = now;
    },
    leave,
  };
}

/** Infinity − Infinity is no order, so pods that are not ready are compared by a number beyond any time. */
function order({ readyAt }: Pod): number {
  return Math.min(readyAt, Number.MAX_SAFE_INTEGER);
}
