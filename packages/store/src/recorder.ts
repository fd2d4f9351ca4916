import type { Database } from './database.js';
import { factArrays } from './fact-arrays.js';
import {
  type AcceptedFact,
  type CompletedFact,
  distinctValid,
  type Fact,
  type FactFailure,
  RecordError,
  type RecordOutcome,
} from './facts.js';
import { errorKind } from './postgres-errors.js';
import { loadStatement } from './statements.js';

export interface Recorder {
  /**
   * Records facts in one transaction: ledger, jobs, results, roll-up and backlog. Order and repetition do not matter: of each
   * job the first accepted and the first completed fact win, all others change nothing. A completed fact may come
   * before its accepted fact. Batches of 200–500 facts are the fastest.
   *
   * @throws RecordError when some facts can never be recorded; all others then were, in several transactions.
   * @throws ServiceError `store_unavailable`; part may have been recorded, recording all again is right.
   */
  recordFacts(facts: readonly Fact[]): Promise<RecordOutcome>;
}

const recordFactsStatement = loadStatement('record-facts');

interface RecordedRow {
  readonly accepted: readonly string[] | null;
  readonly completed: readonly string[] | null;
  /** Decimal numbers, one for each of `completed`. */
  readonly amounts: readonly string[] | null;
}

interface Progress {
  readonly newlyAccepted: Set<string>;
  readonly newlyCompleted: Map<string, bigint>;
  readonly failures: FactFailure[];
}

export function createRecorder(database: Database): Recorder {
  async function recordAll(facts: readonly Fact[]): Promise<RecordedRow | undefined> {
    const accepted: AcceptedFact[] = [];
    const completed: CompletedFact[] = [];
    for (const fact of facts) {
      if (fact.type === 'accepted') accepted.push(fact.message);
      else completed.push(fact.message);
    }
    const [row] = await database.run<RecordedRow & Record<string, unknown>>(
      recordFactsStatement,
      factArrays(accepted, completed),
    );
    return row;
  }

  /** Records `facts`; when PostgreSQL refuses values, halves them until the refused facts stand alone. */
  async function recordOrBisect(facts: readonly Fact[], progress: Progress): Promise<void> {
    const [first] = facts;
    if (first === undefined) return;
    try {
      const row = await recordAll(facts);
      row?.accepted?.forEach((jobId) => progress.newlyAccepted.add(jobId));
      row?.completed?.forEach((jobId, index) => {
        progress.newlyCompleted.set(jobId, BigInt(row.amounts?.[index] ?? 0));
      });
    } catch (error) {
      if (errorKind(error) !== 'data') throw error;
      if (facts.length === 1) {
        progress.failures.push({ type: first.type, jobId: first.message.jobId, cause: error });
        return;
      }
      const middle = facts.length >> 1;
      await recordOrBisect(facts.slice(0, middle), progress);
      await recordOrBisect(facts.slice(middle), progress);
    }
  }

  return {
    async recordFacts(facts) {
      const progress: Progress = { newlyAccepted: new Set(), newlyCompleted: new Map(), failures: [] };
      await recordOrBisect(distinctValid(facts, progress.failures), progress);
      const { failures, ...outcome } = progress;
      if (failures.length > 0) throw new RecordError(failures, outcome);
      return outcome;
    },
  };
}
