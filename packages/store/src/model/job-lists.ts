import { isJobId, isUuid, type JobState } from '@sluice/contracts';
import { idRangeOf } from '../job-ids.js';
import type { JobListQuery, JobPage, JobSummary } from '../job-list.js';
import { EMPTY_PAGE, type Found, MAX_EXAMINED, MAX_LIMIT, pageOf } from '../job-pages.js';
import { newestFirst, summaryOf } from './jobs.js';
import { compareText, isOpen, type Tables, tenantTables } from './tables.js';

/** `JobLists.listJobs`. n.b. really queued and unsuccessful jobs are read by two statements, one after the other. */
export function listJobs(tables: Tables, query: JobListQuery): JobPage {
  const { tenantId, apiKeyId, beforeJobId, states } = query;
  if (apiKeyId !== undefined && !isUuid(apiKeyId)) return EMPTY_PAGE;
  if (beforeJobId !== undefined && !isJobId(beforeJobId)) return EMPTY_PAGE;
  const limit = Math.min(query.limit, MAX_LIMIT);
  const jobs = newestFirst(tables, tenantId);
  if (states === undefined || states.includes('succeeded')) {
    const ids = jobs.map(({ jobId }) => jobId);
    return pageOf(limit, [walk(tables, query, ids, states)]);
  }
  const queued = jobs.filter((job) => isOpen(tables, job)).map(({ jobId }) => jobId);
  const ends = tenantTables(tables, tenantId).ends.filter(({ state }) => state !== 'succeeded');
  const unsuccessful = ends.map(({ jobId }) => jobId).sort((a, b) => compareText(b, a));
  return pageOf(limit, [
    ...(states.includes('queued') ? [walk(tables, { ...query, maxExamined: Infinity }, queued, ['queued'])] : []),
    walk(tables, query, unsuccessful, states),
  ]);
}

/** Looks at the jobs with these ids, newest first, until the page is full or it has walked far enough. */
function walk(
  tables: Tables,
  query: JobListQuery,
  newest: readonly string[],
  states: readonly JobState[] | undefined,
): Found {
  const { limit, maxExamined = MAX_EXAMINED } = query;
  const [from, to] = idRangeOf(query);
  const examined = newest.filter((jobId) => jobId >= from && jobId < to).slice(0, maxExamined);
  const jobs = examined
    .flatMap((jobId) => {
      const job = tables.jobs.get(jobId);
      return job === undefined ? [] : [summaryOf(tables, job)];
    })
    .filter((job) => (states === undefined || states.includes(job.state)) && matches(query, job))
    .slice(0, Math.min(limit, MAX_LIMIT) + 1);
  const isCut = jobs.length <= Math.min(limit, MAX_LIMIT) && examined.length >= maxExamined;
  return { jobs, walkedTo: isCut ? examined.at(-1) : undefined };
}

function matches(query: JobListQuery, job: JobSummary): boolean {
  return (
    (query.model === undefined || job.model === query.model) &&
    (query.class === undefined || job.class === query.class) &&
    (query.apiKeyId === undefined || job.apiKeyId === query.apiKeyId)
  );
}
