import { isJobId, isUuid, type JobClass, type JobState } from '@sluice/contracts';
import type { Database } from './database.js';
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

const MAX_LIMIT = 1_000;
const MAX_EXAMINED = 20_000;
/** 48 bits. */
const MAX_JOB_TIME_MS = 2 ** 48 - 1;
/** The database's uuid sorts as its text in lower case does. */
const LAST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

const statements = {
  all: loadStatement('list-jobs'),
  open: loadStatement('list-open-jobs'),
  unsuccessful: loadStatement('list-unsuccessful-jobs'),
};

type SummaryRow = Omit<JobRow, 'output' | 'replayed_as' | 'tenant_id'> & { readonly job_id: string };
/** The lists of ended jobs have a row when they have no job, for `walked_to`. */
type ListRow = (SummaryRow | { readonly job_id: null }) & { readonly walked_to: string | null };

/** What one statement found: up to one job more than asked for, and where it gave up looking for more. */
interface Found {
  readonly rows: readonly SummaryRow[];
  readonly walkedTo: string | undefined;
}

export function createJobLists(database: Database): JobLists {
  async function find(statement: Statement, values: readonly unknown[]): Promise<Found> {
    const rows = await database.run<ListRow & Record<string, unknown>>(statement, values);
    return { rows: rows.filter(isJob), walkedTo: rows[0]?.walked_to ?? undefined };
  }

  return {
    async listJobs(query) {
      const { tenantId, apiKeyId, beforeJobId, states } = query;
      if (apiKeyId !== undefined && !isUuid(apiKeyId)) return EMPTY;
      if (beforeJobId !== undefined && !isJobId(beforeJobId)) return EMPTY;
      const limit = Math.min(query.limit, MAX_LIMIT);
      const range = rangeOf(query);
      const filters = [query.model ?? null, query.class ?? null, query.apiKeyId ?? null, limit + 1];
      const examined = query.maxExamined ?? MAX_EXAMINED;
      if (states === undefined || states.includes('succeeded')) {
        return pageOf(tenantId, limit, [await find(statements.all, [...range, states ?? null, ...filters, examined])]);
      }
      const unsuccessful = states.filter((state) => state !== 'queued');
      const found = await Promise.all([
        ...(states.includes('queued') ? [find(statements.open, [...range, ...filters])] : []),
        ...(unsuccessful.length > 0
          ? [find(statements.unsuccessful, [...range, unsuccessful, ...filters, examined])]
          : []),
      ]);
      return pageOf(tenantId, limit, found);
    },
  };
}

const EMPTY: JobPage = { jobs: [], next: undefined };

function isJob(row: ListRow): row is SummaryRow & ListRow {
  return row.job_id !== null;
}

/**
 * The newest jobs of all that was found. What is older than the point at which one of the statements gave up is left to the
 * next page, which begins there. The texts of ids sort as the ids do.
 */
function pageOf(tenantId: string, limit: number, found: readonly Found[]): JobPage {
  const walkedTo = found.reduce((newest, one) => ((one.walkedTo ?? '') > newest ? (one.walkedTo ?? '') : newest), '');
  const rows = found
    .flatMap((one) => one.rows)
    .filter((row) => row.job_id >= walkedTo)
    .sort((a, b) => (a.job_id < b.job_id ? 1 : -1));
  const page = rows.slice(0, limit);
  const next = rows.length > limit ? page.at(-1)?.job_id : walkedTo || undefined;
  return { jobs: page.map((row) => toSummary(tenantId, row)), next };
}

function rangeOf({ tenantId, fromMs = 0, toMs, beforeJobId = LAST_ID }: JobListQuery): readonly unknown[] {
  const toId = toMs === undefined ? LAST_ID : firstIdAt(toMs);
  return [tenantId, firstIdAt(fromMs), beforeJobId < toId ? beforeJobId : toId];
}

/** The smallest UUID with this time (Unix milliseconds) or a later one in its first 48 bits. */
export function firstIdAt(timeMs: number): string {
  const time = Math.min(Math.max(Math.ceil(timeMs), 0), MAX_JOB_TIME_MS);
  const hex = time.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}

function toSummary(tenantId: string, row: SummaryRow): JobSummary {
  const record = toRecord(row.job_id, { ...row, tenant_id: tenantId, output: null, replayed_as: null });
  const { output: _output, replayedAs: _replayedAs, ...summary } = record;
  return summary;
}
