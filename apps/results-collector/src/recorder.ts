import { acceptedBy } from '@sluice/contracts';
import type { Logger } from '@sluice/runtime';
import { RecordError, type AcceptedFact, type CompletedFact, type Fact, type Store } from '@sluice/store';
import { factKey } from './facts.js';
import { persist } from './persistence.js';
import type { TerminalRecord } from './settlement.js';

export interface RecorderOptions {
  readonly store: Pick<Store, 'recordFacts' | 'terminalFacts'>;
  /** Hears of every failed attempt to reach PostgreSQL. */
  readonly onFailure: (error: unknown) => void;
  /** Hears how many facts of a type a batch has added to the books. */
  readonly onRecorded: (type: Fact['type'], count: number) => void;
  /** Hears of every batch: its facts, and how long it took to be in the books, waiting included, in milliseconds. */
  readonly onBatch: (facts: number, ms: number) => void;
  /** Hears of every end of a job that is new in the books. */
  readonly onCompleted: (fact: CompletedFact) => void;
  readonly logger: Logger;
}

/** What stands in the books of the facts of a batch, whether it was added now or before. */
export interface Booked {
  readonly accepted: readonly AcceptedFact[];
  /** Completed facts, each with the end of its job that stands in the ledger; perhaps another fact was first. */
  readonly ended: readonly { readonly fact: CompletedFact; readonly record: TerminalRecord }[];
}

/** What became of a batch of facts. */
export interface Recorded extends Booked {
  /** Facts that PostgreSQL refuses whatever happens, by `factKey`, with the reason. */
  readonly refused: ReadonlyMap<string, string>;
}

export interface Recorder {
  /**
   * Writes facts to the books in one transaction, waiting for PostgreSQL as long as it takes.
   *
   * @throws StoppedError when the signal aborts first; the same facts may then be recorded again by anyone.
   */
  record(facts: readonly Fact[], signal: AbortSignal): Promise<Recorded>;
}

type Outcome = Awaited<ReturnType<Store['recordFacts']>>;
type TerminalFacts = Awaited<ReturnType<Store['terminalFacts']>>;

/** Writes facts into PostgreSQL and finds out which terminal fact of each job won. */
export function createRecorder(options: RecorderOptions): Recorder {
  const { store, onFailure, onRecorded, onBatch, onCompleted, logger } = options;

  function patiently<T>(operation: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return persist(operation, {
      signal,
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
   * A job has ended with the terminal fact that stands in the ledger. For a fact that this call inserted that is the
   * fact itself; otherwise another delivery was first, perhaps with other usage, and PostgreSQL is asked.
   */
  async function winners(
    completed: readonly CompletedFact[],
    inserted: Outcome['newlyCompleted'],
    signal: AbortSignal,
  ): Promise<Booked['ended']> {
    const late = completed.filter(({ jobId }) => !inserted.has(jobId));
    const known: TerminalFacts =
      late.length === 0
        ? new Map()
        : await patiently(() => store.terminalFacts(late.map(({ jobId }) => jobId)), signal);
    return completed.flatMap((fact) => {
      const amountNanoUsd = inserted.get(fact.jobId);
      const record = amountNanoUsd === undefined ? known.get(fact.jobId) : { amountNanoUsd, ...endOf(fact) };
      if (record !== undefined && record !== 'open') return [{ fact, record }];
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
      if (unique.length === 0) return { accepted: [], ended: [], refused: new Map() };
      const beganMs = performance.now();
      const { newlyAccepted, newlyCompleted, error } = await insert([...unique, ...broughtAlong(unique)], signal);
      onBatch(unique.length, performance.now() - beganMs);
      onRecorded('accepted', newlyAccepted.size);
      onRecorded('completed', newlyCompleted.size);
      const refused = refusals(error);
      const standing = unique.filter(({ type, message }) => !refused.has(factKey(type, message.jobId)));
      const accepted = standing.flatMap((fact) => (fact.type === 'accepted' ? [fact.message] : []));
      const completed = standing.flatMap((fact) => (fact.type === 'completed' ? [fact.message] : []));
      for (const fact of completed) if (newlyCompleted.has(fact.jobId)) onCompleted(fact);
      return { accepted, ended: await winners(completed, newlyCompleted, signal), refused };
    },
  };
}

/**
 * Accepted facts that came with the ends of their jobs. Nearly all are recorded already and change nothing; one that a broker
 * lost when it died is recorded by this.
 */
function broughtAlong(facts: readonly Fact[]): readonly Fact[] {
  const known = new Set(facts.flatMap(({ type, message }) => (type === 'accepted' ? [message.jobId] : [])));
  return facts.flatMap((fact): readonly Fact[] => {
    if (fact.type === 'accepted' || known.has(fact.message.jobId)) return [];
    const message = acceptedBy(fact.message);
    return message ? [{ type: 'accepted', message }] : [];
  });
}

function endOf({ state, usage }: CompletedFact): Omit<TerminalRecord, 'amountNanoUsd'> {
  return { state, usage };
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
