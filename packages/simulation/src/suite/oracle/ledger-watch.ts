import { jobIdTimeMs } from '@sluice/contracts';
import type { LedgerEntry, StoreModel } from '@sluice/store/model';
import type { Checker } from './invariant.js';
import { periodNameOf, subjectOf, type Rule } from './rules.js';

/** What the ledger says of a job. */
export interface Booked {
  reserve?: LedgerEntry;
  end?: LedgerEntry;
  /** When the end was recorded, in virtual time (milliseconds). */
  endedAtMs?: number;
}

export interface LedgerWatch {
  /** To be called at PostgreSQL, after each statement. */
  afterStatement(): void;
  readonly jobs: ReadonlyMap<string, Booked>;
  /** Jobs with a reserve entry and no end. */
  readonly open: number;
}

export interface LedgerWatchOptions {
  readonly store: StoreModel;
  readonly rules: readonly Rule[];
  readonly checker: Checker;
  readonly elapsedMs: () => number;
}

/** Reads what is added to the ledger: no job has two entries of a kind, and no period's sum passes its limit. */
export function createLedgerWatch({ store, rules, checker, elapsedMs }: LedgerWatchOptions): LedgerWatch {
  const jobs = new Map<string, Booked>();
  /** By rule, subject and period: what its jobs used, or hold as far as they are open. */
  const sums = new Map<string, number>();
  const quotas = rules.filter(({ kind, unit }) => kind === 'quota' && unit === 'tokens');
  let read = 0;
  let open = 0;

  /** Adds tokens to every quota that the job counts for, and checks the sums. */
  function count(entry: LedgerEntry, tokens: number): void {
    for (const rule of quotas) {
      const subject = subjectOf(rule, entry);
      if (subject === undefined) continue;
      const key = `${entry.tenantId} ${rule.name} ${subject} ${periodNameOf(rule, jobIdTimeMs(entry.jobId))}`;
      const sum = (sums.get(key) ?? 0) + tokens;
      sums.set(key, sum);
      checker.check('ledger-within-limits', sum <= rule.max, () => `${key}: ${sum} of ${rule.max}`);
    }
  }

  function add(entry: LedgerEntry): void {
    const job = jobs.get(entry.jobId) ?? {};
    jobs.set(entry.jobId, job);
    const isReserve = entry.phase === 1;
    const before = isReserve ? job.reserve : job.end;
    const kind = isReserve ? 'reserve' : 'terminal';
    checker.check('accepted-job-ends-once', !before, () => `${entry.jobId} has two ${kind} entries`);
    const used = entry.inputTokens + entry.outputTokens;
    if (isReserve) {
      job.reserve = entry;
      if (job.end) return;
      open += 1;
      count(entry, entry.reservedTokens);
    } else {
      job.end = entry;
      job.endedAtMs = elapsedMs();
      if (job.reserve) open -= 1;
      count(entry, job.reserve ? used - job.reserve.reservedTokens : used);
    }
  }

  return {
    jobs,
    get open() {
      return open;
    },
    afterStatement() {
      const ledger = store.ledger();
      for (; read < ledger.length; read += 1) {
        const entry = ledger[read];
        if (entry) add(entry);
      }
    },
  };
}
