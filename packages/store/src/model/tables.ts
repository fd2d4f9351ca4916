import type { JobClass, JobError, JobOutput, Metadata, TerminalState } from '@sluice/contracts';
import type { FenceMember } from '../fence-members.js';
import type { ModelBacklog } from '../backlog.js';
import type { DeadLetterRecord } from '../dead-letters.js';

/** A row of `ledger`. Times are Unix milliseconds. */
export interface LedgerEntry {
  readonly jobId: string;
  readonly jobAtMs: number;
  /** 1 reserve, 2 terminal entry. */
  readonly phase: 1 | 2;
  readonly tenantId: string;
  readonly apiKeyId: string;
  readonly model: string;
  /** Undefined for a reserve. */
  readonly state: TerminalState | undefined;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cachedTokens: number;
  readonly amountNanoUsd: bigint;
  readonly reservedTokens: number;
  readonly overageTokens: number;
  readonly overageNanoUsd: bigint;
  /** PostgreSQL's clock at the transaction. */
  readonly recordedAtMs: number;
}

/** A row of `jobs`. */
export interface JobEntry {
  readonly jobId: string;
  readonly jobAtMs: number;
  readonly tenantId: string;
  readonly apiKeyId: string;
  readonly model: string;
  readonly class: JobClass;
  readonly inputTokens: number;
  readonly maxOutputTokens: number;
  readonly reservedTokens: number;
  readonly reservedNanoUsd: number;
  readonly expiresAtMs: number;
  readonly metadata: Metadata | undefined;
  readonly keyHash: string | undefined;
  readonly fingerprint: string | undefined;
  readonly replay: { readonly of: string; readonly epoch: number } | undefined;
}

/** A row of `job_results`. */
export interface ResultEntry {
  readonly startedAtMs: number | undefined;
  readonly finishedAtMs: number;
  readonly attempt: number;
  readonly modelVersion: string | undefined;
  readonly error: JobError | undefined;
  readonly output: JobOutput | undefined;
}

/** A row of `usage_15m`. */
export interface UsageEntry {
  readonly tenantId: string;
  /** When its 15 minutes begin, Unix milliseconds. */
  readonly bucketMs: number;
  readonly model: string;
  readonly apiKeyId: string;
  readonly jobs: number;
  readonly failedJobs: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cachedTokens: number;
  readonly amountNanoUsd: bigint;
  readonly reservedTokens: number;
  readonly overageTokens: number;
  readonly overageNanoUsd: bigint;
}

/** What is kept of one tenant, so that no call looks at those of others. */
export interface TenantTables {
  readonly jobs: JobEntry[];
  /** Terminal entries. */
  readonly ends: LedgerEntry[];
}

/** The tables that facts and the sweep write, with the indexes that the calls need. */
export interface Tables {
  /** In the order in which they were recorded. */
  readonly ledger: LedgerEntry[];
  /** By job id. */
  readonly reserves: Map<string, LedgerEntry>;
  readonly ends: Map<string, LedgerEntry>;
  readonly jobs: Map<string, JobEntry>;
  readonly results: Map<string, ResultEntry>;
  readonly tenants: Map<string, TenantTables>;
  /** By `usageKey`. */
  readonly usage: Map<string, UsageEntry>;
  /** What `v_backlog` sums up, by model and class; see `changeBacklog`. */
  readonly backlog: Map<string, ModelBacklog>;
  /** `hold_sweep`: jobs with an earlier deadline have ended or are in `overdue`. */
  sweptUntilMs: number;
  readonly overdue: Map<string, JobEntry>;
  readonly fenceMembers: Map<string, FenceMember & { readonly seenAtMs: number }>;
  /** By id, in the order of ids. */
  readonly deadLetters: Map<number, DeadLetterRecord>;
}

/** The roll-up's buckets begin at whole multiples of this since the epoch. */
export const BUCKET_MS = 900_000;

/** `usage_bucket`: when the 15 minutes of a time begin. */
export function bucketOf(ms: number): number {
  return Math.floor(ms / BUCKET_MS) * BUCKET_MS;
}

export function createTables(): Tables {
  return {
    ledger: [],
    reserves: new Map(),
    ends: new Map(),
    jobs: new Map(),
    results: new Map(),
    tenants: new Map(),
    usage: new Map(),
    backlog: new Map(),
    sweptUntilMs: -Infinity,
    overdue: new Map(),
    fenceMembers: new Map(),
    deadLetters: new Map(),
  };
}

const NOTHING: TenantTables = { jobs: [], ends: [] };

/** For reading: a tenant without any rows has none. */
export function tenantTables(tables: Tables, tenantId: string): TenantTables {
  return tables.tenants.get(tenantId) ?? NOTHING;
}

/** For writing. */
export function ownTables(tables: Tables, tenantId: string): TenantTables {
  let own = tables.tenants.get(tenantId);
  if (own === undefined) tables.tenants.set(tenantId, (own = { jobs: [], ends: [] }));
  return own;
}

/** Whether a load counts the job: it has not ended, and the sweep knows it or has not come to it. */
export function isOpen(tables: Tables, job: JobEntry): boolean {
  if (tables.ends.has(job.jobId)) return false;
  return job.expiresAtMs >= tables.sweptUntilMs || tables.overdue.has(job.jobId);
}

/** Compares text as PostgreSQL does with the collation C, and ids as they do. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
