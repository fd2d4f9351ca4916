import { backlogDrifts } from './backlog.js';
import { HOLD_GRACE_MS } from './sweep.js';
import { isOpen, type LedgerEntry, type Tables, type UsageEntry } from './tables.js';
import { addUsage, usageOf } from './usage.js';

/** What a view `v_recon_…` finds in the model. */
export interface ModelReconciliation {
  readonly view: string;
  /** 0 when healthy. */
  readonly rows: number;
}

/** `recon_grace()`, milliseconds. */
const RECON_GRACE_MS = 2 * HOLD_GRACE_MS;

/**
 * Counts the rows of the views, by name. Not there: `v_recon_over_limit` and `v_recon_time_zone`, because the model has no
 * history of plans and tenants, and `v_recon_default_partition`, because it has no partitions.
 */
export function reconcile(tables: Tables, nowMs: number): readonly ModelReconciliation[] {
  const jobs = [...tables.jobs.values()];
  const overdueJobs = jobs.filter((job) => job.expiresAtMs < nowMs - RECON_GRACE_MS);
  const { ledger, reserves, ends } = tables;
  return [
    { view: 'v_recon_backlog', rows: backlogDrifts(tables) },
    { view: 'v_recon_double_terminal', rows: doubles(ledger) },
    {
      view: 'v_recon_missing_job',
      rows: ledger.filter((one) => one.phase === 1 && !tables.jobs.has(one.jobId)).length,
    },
    { view: 'v_recon_missing_terminal', rows: overdueJobs.filter(({ jobId }) => !ends.has(jobId)).length },
    { view: 'v_recon_open_hold_past_expiry', rows: overdueJobs.filter((job) => isOpen(tables, job)).length },
    { view: 'v_recon_rollup_drift', rows: drifts(ledger, tables.usage) },
    {
      view: 'v_recon_terminal_without_reserve',
      rows: [...ends.values()].filter((end) => isOrphan(end, reserves, nowMs)).length,
    },
  ];
}

function isOrphan(end: LedgerEntry, reserves: Tables['reserves'], nowMs: number): boolean {
  return !reserves.has(end.jobId) && end.recordedAtMs < nowMs - HOLD_GRACE_MS;
}

/** Jobs and phases with more than one entry. */
function doubles(ledger: readonly LedgerEntry[]): number {
  const once = new Set<string>();
  const twice = new Set<string>();
  for (const { jobId, phase } of ledger) {
    const key = `${jobId} ${phase}`;
    (once.has(key) ? twice : once).add(key);
  }
  return twice.size;
}

/** Rows of the roll-up that are not what the ledger sums up to, and those that are missing. */
function drifts(ledger: readonly LedgerEntry[], usage: ReadonlyMap<string, UsageEntry>): number {
  const sums = new Map<string, UsageEntry>();
  for (const entry of ledger) if (entry.phase === 2) addUsage(sums, usageOf(entry));
  const keys = new Set([...sums.keys(), ...usage.keys()]);
  return [...keys].filter((key) => !isSame(sums.get(key), usage.get(key))).length;
}

function isSame(a: UsageEntry | undefined, b: UsageEntry | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  return (Object.keys(a) as (keyof UsageEntry)[]).every((column) => a[column] === b[column]);
}
