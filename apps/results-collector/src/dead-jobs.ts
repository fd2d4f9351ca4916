import type { CompletedFact, Store } from '@sluice/store';
import type { Trace } from '@sluice/telemetry';

export interface DeadJobsOptions {
  readonly store: Pick<Store, 'terminalFacts'>;
  /** Resolves when everything that was published before is recorded; see the decision about the fence. */
  readonly passFence: () => Promise<void>;
  /** Publishes the end of a job to the `results` queue, where it is taken into the books like any other. */
  readonly report: (fact: CompletedFact, trace?: Trace) => Promise<void>;
}

/**
 * Ends a job whose message died, unless it has ended in another way. Rejects with the first failure of a server; calling
 * it again is safe.
 */
export type EndDeadJob = (end: CompletedFact, trace?: Trace) => Promise<void>;

/**
 * A worker may have published the success of a job and gone before the broker knew that it was done. The message then
 * dies of one delivery too many, while the success waits to be recorded or is with a slow collector. Like a sweep this
 * decides by what PostgreSQL does *not* know, so it looks again behind a fence.
 */
export function createDeadJobs({ store, passFence, report }: DeadJobsOptions): EndDeadJob {
  async function hasEnded(jobId: string): Promise<boolean> {
    const fact = (await store.terminalFacts([jobId])).get(jobId);
    return fact !== undefined && fact !== 'open';
  }

  return async function endDeadJob(end, trace) {
    if (await hasEnded(end.jobId)) return;
    await passFence();
    if (!(await hasEnded(end.jobId))) await report(end, trace);
  };
}
