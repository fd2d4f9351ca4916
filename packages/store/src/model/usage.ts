import { type LedgerEntry, bucketOf, type UsageEntry } from './tables.js';

/** Identifies a row of the roll-up. */
export function usageKey({ tenantId, bucketMs, model, apiKeyId }: Omit<UsageEntry, keyof Sums>): string {
  return `${tenantId}\n${bucketMs}\n${model}\n${apiKeyId}`;
}

type Sums = Omit<UsageEntry, 'tenantId' | 'bucketMs' | 'model' | 'apiKeyId'>;

/** A terminal entry as a row of the roll-up of itself. */
export function usageOf(end: LedgerEntry): UsageEntry {
  return {
    tenantId: end.tenantId,
    bucketMs: bucketOf(end.jobAtMs),
    model: end.model,
    apiKeyId: end.apiKeyId,
    jobs: 1,
    failedJobs: end.state === 'succeeded' ? 0 : 1,
    inputTokens: end.inputTokens,
    outputTokens: end.outputTokens,
    cachedTokens: end.cachedTokens,
    amountNanoUsd: end.amountNanoUsd,
    reservedTokens: end.reservedTokens,
    overageTokens: end.overageTokens,
    overageNanoUsd: end.overageNanoUsd,
  };
}

/** Adds a row to the roll-up. */
export function addUsage(usage: Map<string, UsageEntry>, row: UsageEntry): void {
  const key = usageKey(row);
  const old = usage.get(key);
  usage.set(key, old === undefined ? row : { ...row, ...sumOf(old, row) });
}

function sumOf(a: Sums, b: Sums): Sums {
  return {
    jobs: a.jobs + b.jobs,
    failedJobs: a.failedJobs + b.failedJobs,
    inputTokens: a.inputTokens + b.inputTokens,
    outputTokens: a.outputTokens + b.outputTokens,
    cachedTokens: a.cachedTokens + b.cachedTokens,
    amountNanoUsd: a.amountNanoUsd + b.amountNanoUsd,
    reservedTokens: a.reservedTokens + b.reservedTokens,
    overageTokens: a.overageTokens + b.overageTokens,
    overageNanoUsd: a.overageNanoUsd + b.overageNanoUsd,
  };
}
