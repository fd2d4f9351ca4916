import type { Settlement } from '@sluice/quota';
import type { Logger } from '@sluice/runtime';
import { RecordError, type CompletedFact, type Fact, type Store } from '@sluice/store';
import { factKey } from './facts.js';
import { persist } from './persistence.js';
import { settlementOf, type TerminalRecord } from './settlement.js';

export interface RecorderOptions {
  readonly store: Pick<Store, 'recordFacts' | 'terminalFacts'>;
  /** Hears of every failed attempt to reach PostgreSQL. */
  readonly onFailure: (error: unknown) => void;
  /** Attempts at each step before it is given up with the error of the last one; it is never when absent. */
  readonly maxAttempts?: number;
  readonly logger: Logger;
}

/** What became of a batch of facts. */
export interface Recorded {
  /** What the holds of the jobs that have ended are settled with. */
  readonly settlements: readonly Settlement[];
  /** Facts that PostgreSQL refuses whatever happens, by `factKey`, with the reason. */
  readonly refused: ReadonlyMap<string, string>;
}

export interface Recorder {
  /**
   * Writes facts to the books in one transaction, waiting for PostgreSQL as long as it takes (see `maxAttempts`).
   *
   * @throws StoppedError when the signal aborts first; the same facts may then be recorded again by anyone.
   */
  record(facts: readonly Fact[], signal: AbortSignal): Promise<Recorded>;
}

type Outcome = Awaited<ReturnType<Store['recordFacts']>>;

/** Writes facts into PostgreSQL and finds out which terminal fact of each job won. */
export function createRecorder({ store, onFailure, maxAttempts = Infinity, logger }: RecorderOptions): Recorder {
  function patiently<T>(operation: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return persist(operation, {
      signal,
      maxAttempts,
      mayHeal: (error) => !(error instanceof RecordError),
      onFailure: (error, attempt, delayMs) => {
        onFailure(error);
        logger.warn({ err: error, attempt, delayMs }, 'PostgreSQL could not record facts');
      },
    });
  }

  async function insert(facts: readonly Fact[], signal: AbortSignal): Promise<Outcome & { error?: RecordError }> {
    try {
      return await patiently(() => store.recordFacts(facts), signal);
    } catch (error) {
      if (error instanceof RecordError) return { ...error.outcome, error };
      throw error;
    }
  }

  /**
   * A job is settled with the terminal fact that stands in the ledger. For a fact that this call inserted that is
   * the fact itself; otherwise another delivery was first, perhaps with other usage, and PostgreSQL is asked.
   */
  async function winners(
    completed: readonly CompletedFact[],
    inserted: ReadonlySet<string>,
    signal: AbortSignal,
  ): Promise<readonly Settlement[]> {
    const late = completed.filter(({ jobId }) => !inserted.has(jobId));
    const known =
      late.length === 0
        ? new Map<string, TerminalRecord | 'open'>()
        : await patiently(() => store.terminalFacts(late.map(({ jobId }) => jobId)), signal);
    return completed.flatMap((fact) => {
      const winner = inserted.has(fact.jobId) ? fact : known.get(fact.jobId);
      if (winner !== undefined && winner !== 'open') return [settlementOf(fact, winner)];
      logger.error(
        { jobId: fact.jobId },
        'a recorded terminal fact is not in the ledger, its hold is left to the sweep',
      );
      return [];
    });
  }

  return {
    async record(facts, signal) {
      const unique = firstOfEach(facts);
      if (unique.length === 0) return { settlements: [], refused: new Map() };
      const { newlyCompleted, error } = await insert(unique, signal);
      const refused = refusals(error);
      const completed = unique.flatMap((fact) => (fact.type === 'completed' ? [fact.message] : []));
      const standing = completed.filter(({ jobId }) => !refused.has(factKey('completed', jobId)));
      return { settlements: await winners(standing, newlyCompleted, signal), refused };
    },
  };
}

/** Of several deliveries of a fact the first counts, as it would have had they come in different batches. */
function firstOfEach(facts: readonly Fact[]): readonly Fact[] {
  const first = new Map<string, Fact>();
  for (const fact of facts) {
    const key = factKey(fact.type, fact.message.jobId);
    if (!first.has(key)) first.set(key, fact);
  }
  return [...first.values()];
}

function refusals(error: RecordError | undefined): ReadonlyMap<string, string> {
  const failures = error?.failures ?? [];
  return new Map(failures.map(({ type, jobId, cause }) => [factKey(type, jobId), messageOf(cause)]));
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
