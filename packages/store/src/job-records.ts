import {
  isJobId,
  type JobClass,
  type JobError,
  type JobOutput,
  type JobState,
  type Metadata,
  type TerminalState,
  type Usage,
} from '@sluice/contracts';
import type { Database } from './database.js';
import { loadStatement } from './statements.js';

/** Everything PostgreSQL knows of a job. Times are Unix milliseconds. */
export interface JobRecord {
  readonly jobId: string;
  readonly tenantId: string;
  readonly apiKeyId: string;
  readonly model: string;
  readonly class: JobClass;
  /** `queued` until the terminal entry is recorded; whether a worker has taken the job is not known here. */
  readonly state: JobState;
  readonly inputTokens: number;
  readonly maxOutputTokens: number;
  readonly reservedTokens: number;
  /** What the held tokens cost, rounded up. */
  readonly reservedNanoUsd: number;
  readonly expiresAtMs: number;
  readonly metadata: Metadata | undefined;
  /** The dead job that this one runs again, and how often that was done: 1 for the first replay. */
  readonly replay: { readonly of: string; readonly epoch: number } | undefined;
  /** The newest job that runs this one again. */
  readonly replayedAs: string | undefined;
  /** This and the following are undefined while the job is queued. */
  readonly usage: Usage | undefined;
  readonly amountNanoUsd: bigint | undefined;
  readonly modelVersion: string | undefined;
  readonly output: JobOutput | undefined;
  readonly error: JobError | undefined;
  readonly attempt: number | undefined;
  readonly startedAtMs: number | undefined;
  readonly finishedAtMs: number | undefined;
}

/** The end of a job as the ledger has it, or `open` for a job that was accepted and has not ended. */
export type TerminalFact =
  { readonly state: TerminalState; readonly usage: Usage; readonly amountNanoUsd: bigint } | 'open';

export interface JobKey {
  readonly tenantId: string;
  /** Hash of an Idempotency-Key, as the accepted message carried it. */
  readonly keyHash: string;
  /** Only jobs accepted at or after this (Unix milliseconds). */
  readonly sinceMs: number;
}

export interface JobRecords {
  /**
   * Undefined for a job of another tenant, a job that does not exist, and a job whose accepted fact is not recorded
   * yet, even when its completed fact is.
   */
  findJob(tenantId: string, jobId: string): Promise<JobRecord | undefined>;
  /** The newest job that was accepted under a key, and the fingerprint of its request. */
  findJobByKey(key: JobKey): Promise<{ readonly jobId: string; readonly fingerprint: string } | undefined>;
  /** What the ledger knows of each job; jobs it does not know are absent. */
  terminalFacts(jobIds: readonly string[]): Promise<ReadonlyMap<string, TerminalFact>>;
}

const statements = {
  findJob: loadStatement('find-job'),
  findJobByKey: loadStatement('find-job-by-key'),
  terminalFacts: loadStatement('terminal-facts'),
};

export interface JobRow {
  readonly tenant_id: string;
  readonly api_key_id: string;
  readonly model: string;
  readonly class: JobClass;
  readonly state: JobState;
  readonly input_tokens: number;
  readonly max_output_tokens: number;
  readonly reserved_tokens: number;
  readonly reserved_nano_usd: bigint;
  readonly expires_at_ms: string;
  readonly metadata: Metadata | null;
  readonly replay_of: string | null;
  readonly epoch: number;
  readonly replayed_as: string | null;
  readonly used_input_tokens: number | null;
  readonly used_output_tokens: number | null;
  readonly used_cached_tokens: number | null;
  readonly amount_nano_usd: bigint | null;
  readonly model_version: string | null;
  readonly output: JobOutput | null;
  readonly error: JobError | null;
  readonly attempt: number | null;
  readonly started_at_ms: string | null;
  readonly finished_at_ms: string | null;
}

interface TerminalRow {
  readonly job_id: string;
  readonly state: TerminalState | null;
  readonly input_tokens: number;
  readonly output_tokens: number;
  readonly cached_tokens: number;
  readonly amount_nano_usd: bigint;
}

export function createJobRecords(database: Database): JobRecords {
  return {
    async findJob(tenantId, jobId) {
      if (!isJobId(jobId)) return undefined;
      const [row] = await database.run<JobRow & Record<string, unknown>>(statements.findJob, [tenantId, jobId]);
      return row && toRecord(jobId, row);
    },

    async findJobByKey({ tenantId, keyHash, sinceMs }) {
      const values = [tenantId, keyHash, sinceMs];
      const [row] = await database.run<{ job_id: string; fingerprint: string }>(statements.findJobByKey, values);
      return row && { jobId: row.job_id, fingerprint: row.fingerprint };
    },

    async terminalFacts(jobIds) {
      const rows = await database.run<TerminalRow & Record<string, unknown>>(statements.terminalFacts, [
        jobIds.filter(isJobId),
      ]);
      return new Map(rows.map((row) => [row.job_id, toTerminalFact(row)]));
    },
  };
}

export function toRecord(jobId: string, row: JobRow): JobRecord {
  return {
    jobId,
    tenantId: row.tenant_id,
    apiKeyId: row.api_key_id,
    model: row.model,
    class: row.class,
    state: row.state,
    inputTokens: row.input_tokens,
    maxOutputTokens: row.max_output_tokens,
    reservedTokens: row.reserved_tokens,
    reservedNanoUsd: Number(row.reserved_nano_usd),
    expiresAtMs: Number(row.expires_at_ms),
    metadata: row.metadata ?? undefined,
    replay: row.replay_of === null ? undefined : { of: row.replay_of, epoch: row.epoch },
    replayedAs: row.replayed_as ?? undefined,
    usage: usageOf(row),
    amountNanoUsd: row.amount_nano_usd ?? undefined,
    modelVersion: row.model_version ?? undefined,
    output: row.output ?? undefined,
    error: row.error ?? undefined,
    attempt: row.attempt ?? undefined,
    startedAtMs: optionalNumber(row.started_at_ms),
    finishedAtMs: optionalNumber(row.finished_at_ms),
  };
}

function usageOf(row: JobRow): Usage | undefined {
  const { used_input_tokens: inputTokens, used_output_tokens: outputTokens, used_cached_tokens: cachedTokens } = row;
  if (inputTokens === null || outputTokens === null || cachedTokens === null) return undefined;
  return { inputTokens, outputTokens, cachedTokens };
}

function toTerminalFact(row: TerminalRow): TerminalFact {
  if (row.state === null) return 'open';
  const usage = { inputTokens: row.input_tokens, outputTokens: row.output_tokens, cachedTokens: row.cached_tokens };
  return { state: row.state, usage, amountNanoUsd: row.amount_nano_usd };
}

function optionalNumber(text: string | null): number | undefined {
  return text === null ? undefined : Number(text);
}
