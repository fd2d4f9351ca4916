import type { CancelMessage } from '@sluice/contracts';

/** Whose job it is: a request for another tenant's job is none. */
export interface JobRef {
  readonly jobId: string;
  readonly tenantId: string;
}

/** Requests to cancel, and the jobs here that they may be about. */
export interface Cancellations {
  /** Requests that are remembered. */
  readonly size: number;
  /** Takes a request: tells whoever watches the job, and remembers it for a delivery that may come later. */
  add(request: CancelMessage): void;
  /** Whether somebody asked to cancel the job, and its deadline has not passed since. */
  has(job: JobRef): boolean;
  /** Calls `listener` when a request for the job comes; ends with the returned function. */
  watch(job: JobRef, listener: () => void): () => void;
}

export interface CancellationsOptions {
  /** Most requests that are remembered. When there are more the oldest is forgotten, and its job may run in vain. */
  readonly limit: number;
  /** Now, by the clock of jobs (Unix milliseconds). */
  readonly now: () => number;
}

/**
 * Every worker hears of every cancel request, and none knows whether the job is in its own hands, in another's, in the
 * queue or in a retry tier. So each remembers all of them until the job's deadline: after it nobody starts the job.
 */
export function createCancellations({ limit, now }: CancellationsOptions): Cancellations {
  /** In the order they came. */
  const requests = new Map<string, CancelMessage>();
  /** A job is watched twice when the broker has delivered it twice. */
  const watchers = new Map<string, Set<Watcher>>();

  /** Forgets the oldest when there are too many, and those at the front that nobody needs any more. */
  function trim(): void {
    for (const [jobId, { expiresAtMs }] of requests) {
      if (requests.size <= limit && expiresAtMs >= now()) return;
      requests.delete(jobId);
    }
  }

  return {
    get size() {
      return requests.size;
    },
    add(request) {
      if (request.expiresAtMs < now()) return;
      requests.set(request.jobId, request);
      trim();
      for (const { tenantId, listener } of watchers.get(request.jobId) ?? [])
        if (tenantId === request.tenantId) listener();
    },
    has({ jobId, tenantId }) {
      const request = requests.get(jobId);
      return request?.tenantId === tenantId && request.expiresAtMs >= now();
    },
    watch({ jobId, tenantId }, listener) {
      const watcher = { tenantId, listener };
      const ofJob = watchers.get(jobId) ?? new Set<Watcher>();
      watchers.set(jobId, ofJob.add(watcher));
      return () => {
        ofJob.delete(watcher);
        if (ofJob.size === 0 && watchers.get(jobId) === ofJob) watchers.delete(jobId);
      };
    },
  };
}

interface Watcher {
  readonly tenantId: string;
  readonly listener: () => void;
}
