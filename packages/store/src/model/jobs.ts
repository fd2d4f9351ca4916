import { isJobId, jobIdTimeMs } from '@sluice/contracts';
import type { JobKey, JobRecord, TerminalFact } from '../job-records.js';
import { firstIdAt } from '../job-ids.js';
import type { RecentKey, RecentKeys, RecentKeysQuery } from '../recent-keys.js';
import { compareText, type JobEntry, type LedgerEntry, type Tables, tenantTables } from './tables.js';

/** `JobRecords.findJob`. */
export function findJob(tables: Tables, tenantId: string, jobId: string): JobRecord | undefined {
  const job = tables.jobs.get(jobId);
  if (job?.tenantId !== tenantId) return undefined;
  return {
    ...summaryOf(tables, job),
    replayedAs: newestReplay(tables, job),
    output: tables.results.get(jobId)?.output,
  };
}

/** A job with its end, as lists show it. */
export function summaryOf(tables: Tables, job: JobEntry): Omit<JobRecord, 'output' | 'replayedAs'> {
  const end = tables.ends.get(job.jobId);
  const result = tables.results.get(job.jobId);
  return {
    jobId: job.jobId,
    tenantId: job.tenantId,
    apiKeyId: job.apiKeyId,
    model: job.model,
    class: job.class,
    state: end?.state ?? 'queued',
    inputTokens: job.inputTokens,
    maxOutputTokens: job.maxOutputTokens,
    reservedTokens: job.reservedTokens,
    reservedNanoUsd: job.reservedNanoUsd,
    expiresAtMs: job.expiresAtMs,
    metadata: job.metadata,
    replay: job.replay,
    usage: end && usageOf(end),
    amountNanoUsd: end?.amountNanoUsd,
    modelVersion: result?.modelVersion,
    error: result?.error,
    attempt: result?.attempt,
    startedAtMs: result?.startedAtMs,
    finishedAtMs: result?.finishedAtMs,
  };
}

/** The newest job of the tenant that runs this one again. */
function newestReplay(tables: Tables, { jobId, jobAtMs, tenantId }: JobEntry): string | undefined {
  return newestFirst(tables, tenantId).find(({ replay, jobAtMs: atMs }) => replay?.of === jobId && atMs >= jobAtMs)
    ?.jobId;
}

/** `JobRecords.findJobByKey`. */
export function findJobByKey(tables: Tables, { tenantId, keyHash, sinceMs }: JobKey) {
  const found = newestFirst(tables, tenantId).find((job) => job.keyHash === keyHash && job.jobAtMs >= sinceMs);
  return found && { jobId: found.jobId, fingerprint: found.fingerprint ?? '' };
}

/** `JobRecords.terminalFacts`. */
export function terminalFacts({ reserves, ends }: Tables, jobIds: readonly string[]): Map<string, TerminalFact> {
  const facts = new Map<string, TerminalFact>();
  for (const jobId of jobIds.filter(isJobId)) {
    const end = ends.get(jobId);
    if (end?.state !== undefined) {
      facts.set(jobId, { state: end.state, usage: usageOf(end), amountNanoUsd: end.amountNanoUsd });
    } else if (reserves.has(jobId)) facts.set(jobId, 'open');
  }
  return facts;
}

/** `recent-keys.sql`: looks at four times as many jobs as keys at most. */
export function recentKeys(tables: Tables, { tenantId, sinceMs, limit }: RecentKeysQuery): RecentKeys {
  const firstId = firstIdAt(sinceMs);
  const recent = newestFirst(tables, tenantId)
    .filter(({ jobId }) => jobId >= firstId)
    .slice(0, 4 * limit);
  const keys = recent.flatMap(keyOf).slice(0, limit);
  // Where something was cut off, others of the oldest millisecond may be missing.
  const cutAtMs = (found: readonly { readonly jobId: string }[], most: number): number => {
    const last = found.at(-1);
    return found.length < most || last === undefined ? sinceMs : jobIdTimeMs(last.jobId) + 1;
  };
  return { keys, sinceMs: Math.max(sinceMs, cutAtMs(recent, 4 * limit), cutAtMs(keys, limit)) };
}

function keyOf({ keyHash, fingerprint = '', jobId, jobAtMs }: JobEntry): readonly RecentKey[] {
  return keyHash === undefined ? [] : [{ keyHash, fingerprint, jobId, acceptedAtMs: jobAtMs }];
}

/** A tenant's jobs, newest first. */
export function newestFirst(tables: Tables, tenantId: string): readonly JobEntry[] {
  return tenantTables(tables, tenantId).jobs.toSorted((a, b) => compareText(b.jobId, a.jobId));
}

function usageOf({ inputTokens, outputTokens, cachedTokens }: LedgerEntry) {
  return { inputTokens, outputTokens, cachedTokens };
}
