import type { TerminalState } from '@sluice/contracts';

/**
 * What Redis keeps of a job that has ended. A reader looks at `state` only: a terminal state there means that
 * PostgreSQL has the whole record. It depends on nothing but the record, so whoever settles writes the same.
 */
export function terminalSnapshot(job: { readonly jobId: string; readonly state: TerminalState }): string {
  return JSON.stringify({ jobId: job.jobId, state: job.state });
}
