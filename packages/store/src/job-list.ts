import { isJobId, isUuid, type JobClass, type JobState } from '@sluice/contracts';
import type { Database } from './database.js';
import { idRangeOf } from './job-ids.js';
import { EMPTY_PAGE, type Found, MAX_EXAMINED, MAX_LIMIT, pageOf } from './job-pages.js';
import { type JobRecord, type JobRow, toRecord } from './job-records.js';
import { loadStatement, type Statement } from './statements.js';

/** A job in a list: everything but what can be large or costs a look-up of its own. */
export type JobSummary = Omit<JobRecord, 'output' | 'replayedAs'>;

export interface JobListQuery {
  readonly tenantId: string;
  /** Any when absent. `queued` are the jobs without a recorded end; that a worker has taken one is not known here. */
  readonly states?: readonly Exclude<JobState, 'running'>[] | undefined;
  readonly model?: string | undefined;
  readonly class?: JobClass | undefined;
  /** No job matches what is not a UUID. */
  readonly apiKeyId?: string | undefined;
  /** When jobs were accepted: inclusive and exclusive, Unix milliseconds. */
  readonly fromMs?: number | undefined;
  readonly toMs?: number | undefined;
  /** Only jobs before this one: the last of the page before. No job matches what is not a job id. */
  readonly beforeJobId?: string | undefined;
  /** 1–1000; more is cut. */
  readonly limit: number;
  /** Most jobs to look at; 20,000 when absent, which takes well below a second. */
  readonly maxExamined?: number | undefined;
}

export interface JobPage {
  readonly jobs: readonly JobSummary[];
  /**
   * `beforeJobId` of the next page; undefined when there is none. Pages may be short, even empty, and yet not the last: so many
   * jobs were looked at that do not match.
   */
  readonly next: string | undefined;
}

export interface JobLists {
  /**
   * A page of a tenant's recorded jobs, newest first. Jobs are looked at from the newest on, so a filter that few pass should
   * come with times. Queued, failed, canceled and expired jobs are found without passing all those that succeeded.
   */
  listJobs(query: JobListQuery): Promise<JobPage>;
}

const statements = {
  all: loadStatement('list-jobs'),
  open: loadStatement('list-open-jobs'),
  unsuccessful: loadStatement('list-unsuccessful-jobs'),
};

type SummaryRow = Omit<JobRow, 'output' | 'replayed_as' | 'tenant_id'> & { readonly job_id: string };
/** The lists of ended jobs have a row when they have no job, for `walked_to`. */
type ListRow = (SummaryRow | { readonly job_id: null }) & { readonly walked_to: string | null };

export function createJobLists(database: Database): JobLists {
  /** n.b. `$1` is the tenant in all of them. */
  async function find(statement: Statement, values: readonly [string, ...unknown[]]): Promise<Found> {
    const rows = await database.run<ListRow & Record<string, unknown>>(statement, values);
    const jobs = rows.filter(isJob).map((row) => toSummary(values[0], row));
    return { jobs, walkedTo: rows[0]?.walked_to ?? undefined };
  }

  return {
    async listJobs(query) {
      const { tenantId, apiKeyId, beforeJobId, states } = query;
      if (apiKeyId !== undefined && !isUuid(apiKeyId)) return EMPTY_PAGE;
      if (beforeJobId !== undefined && !isJobId(beforeJobId)) return EMPTY_PAGE;
      const limit = Math.min(query.limit, MAX_LIMIT);
      const range = [tenantId, ...idRangeOf(query)] as const;
      const filters = [query.model ?? null, query.class ?? null, query.apiKeyId ?? null, limit + 1];
      const examined = query.maxExamined ?? MAX_EXAMINED;
      if (states === undefined || states.includes('succeeded')) {
        return pageOf(limit, [await find(statements.all, [...range, states ?? null, ...filters, examined])]);
      }
      const unsuccessful = states.filter((state) => state !== 'queued');
      // n.b. one after the other: a job that ends in between is found by both, never by neither.
      const found: Found[] = [];
      if (states.includes('queued')) found.push(await find(statements.open, [...range, ...filters]));
      if (unsuccessful.length > 0) {
        found.push(await find(statements.unsuccessful, [...range, unsuccessful, ...filters, examined]));
      }
      return pageOf(limit, found);
    },
  };
}

function isJob(row: ListRow): row is SummaryRow & ListRow {
  return row.job_id !== null;
}

function toSummary(tenantId: string, row: SummaryRow): JobSummary {
  const record = toRecord(row.job_id, { ...row, tenant_id: tenantId, output: null, replayed_as: null });
  const { output: _output, replayedAs: _replayedAs, ...summary } = record;
  return summary;
}
