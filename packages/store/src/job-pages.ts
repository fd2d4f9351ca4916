import type { JobPage, JobSummary } from './job-list.js';

/** What one look at a tenant's jobs found: up to one job more than asked for, and where it gave up looking for more. */
export interface Found {
  readonly jobs: readonly JobSummary[];
  readonly walkedTo: string | undefined;
}

/** Most jobs of a page. */
export const MAX_LIMIT = 1_000;
/** Most jobs that one look walks past, unless the query says otherwise. */
export const MAX_EXAMINED = 20_000;

export const EMPTY_PAGE: JobPage = { jobs: [], next: undefined };

/**
 * The newest jobs of all that was found. What is older than the point at which one of the looks gave up is left to the
 * next page, which begins there. The texts of ids sort as the ids do. Of a job that several looks found, the last one counts.
 */
export function pageOf(limit: number, found: readonly Found[]): JobPage {
  const walkedTo = found.reduce((newest, one) => ((one.walkedTo ?? '') > newest ? (one.walkedTo ?? '') : newest), '');
  const byId = new Map(found.flatMap((one) => one.jobs.map((job) => [job.jobId, job])));
  const jobs = [...byId.values()].filter(({ jobId }) => jobId >= walkedTo).sort((a, b) => (a.jobId < b.jobId ? 1 : -1));
  const page = jobs.slice(0, limit);
  const next = jobs.length > limit ? page.at(-1)?.jobId : walkedTo || undefined;
  return { jobs: page, next };
}
