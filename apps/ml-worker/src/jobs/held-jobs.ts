import type { HoldingMessage } from '@sluice/contracts';
import type { JobRef } from './cancellations.js';

/** How far a job in hand has come. */
export type Holding = HoldingMessage['holding'];

/** A job in this worker's hands. */
export interface Hold {
  /** Something of it runs from now on. */
  begin(): void;
  /** The broker has its end, or the job itself again. */
  end(): void;
}

/** The jobs that this worker answers for. */
export interface HeldJobs {
  /** Jobs in hand. */
  readonly size: number;
  take(job: JobRef): Hold;
  /** Undefined when the job is not here, or is another tenant's. */
  holdingOf(job: JobRef): Holding | undefined;
}

interface Entry extends JobRef {
  holding: Holding;
}

/**
 * Knows which jobs are here, from their delivery until the broker has confirmed what came of them: in all that time
 * their end is this worker's to tell.
 */
export function createHeldJobs(): HeldJobs {
  /** n.b. a job is here twice when the broker has delivered it twice. */
  const entries = new Map<string, Set<Entry>>();

  return {
    get size() {
      return entries.size;
    },
    take({ jobId, tenantId }) {
      const entry: Entry = { jobId, tenantId, holding: 'waiting' };
      const ofJob = entries.get(jobId) ?? new Set<Entry>();
      entries.set(jobId, ofJob.add(entry));
      return {
        begin() {
          entry.holding = 'running';
        },
        end() {
          ofJob.delete(entry);
          if (ofJob.size === 0 && entries.get(jobId) === ofJob) entries.delete(jobId);
        },
      };
    },
    holdingOf({ jobId, tenantId }) {
      const own = [...(entries.get(jobId) ?? [])].filter((entry) => entry.tenantId === tenantId);
      if (own.length === 0) return undefined;
      return own.some(({ holding }) => holding === 'running') ? 'running' : 'waiting';
    },
  };
}
