import { isJobId, isUuid, type JobClass, type JobState } from '@sluice/contracts';
import type { Database } from './database.js';
import { type JobRecord, type JobRow, toRecord } from './job-records.js';
import { loadStatement } from './statements.js';

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
}

export interface JobLists {
  /**
   * A tenant's recorded jobs, newest first. Jobs are looked at from the newest on until the page is full, so a filter that
   * few pass should come with times; queued jobs alone are found without passing those that have ended.
   */
  listJobs(query: JobListQuery): Promise<readonly JobSummary[]>;
}

const MAX_LIMIT = 1_000;
/** 48 bits. */
const MAX_JOB_TIME_MS = 2 ** 48 - 1;
/** The database's uuid sorts as its text in lower case does. */
const LAST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

const statements = { all: loadStatement('list-jobs'), open: loadStatement('list-open-jobs') };

type SummaryRow = Omit<JobRow, 'output' | 'replayed_as' | 'tenant_id'> & { readonly job_id: string };

export function createJobLists(database: Database): JobLists {
  return {
    async listJobs(query) {
      const { apiKeyId, beforeJobId } = query;
      if (apiKeyId !== undefined && !isUuid(apiKeyId)) return [];
      if (beforeJobId !== undefined && !isJobId(beforeJobId)) return [];
      const states = query.states && [...new Set(query.states)];
      const range = rangeOf(query);
      const filters = filtersOf(query);
      const rows = await (states?.length === 1 && states[0] === 'queued'
        ? database.run<SummaryRow & Record<string, unknown>>(statements.open, [...range, ...filters])
        : database.run<SummaryRow & Record<string, unknown>>(statements.all, [...range, states ?? null, ...filters]));
      return rows.map((row) => toSummary(query.tenantId, row));
    },
  };
}

function rangeOf({ tenantId, fromMs = 0, toMs, beforeJobId = LAST_ID }: JobListQuery): readonly unknown[] {
  const toId = toMs === undefined ? LAST_ID : firstIdAt(toMs);
  return [tenantId, firstIdAt(fromMs), beforeJobId < toId ? beforeJobId : toId];
}

function filtersOf(query: JobListQuery): readonly unknown[] {
  return [query.model ?? null, query.class ?? null, query.apiKeyId ?? null, Math.min(query.limit, MAX_LIMIT)];
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
