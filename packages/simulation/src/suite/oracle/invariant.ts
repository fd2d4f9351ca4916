/** What must hold whatever happens, by name. */
export const INVARIANTS = {
  'accepted-job-ends-once':
    'A job that was answered with 202, or is in the ledger, has one reserve entry and one terminal entry.',
  'no-job-without-request': 'Each job of the ledger leads back to a request of a client.',
  'one-job-per-key': 'All answers to one Idempotency-Key name one job, and the ledger has no other under that key.',
  'refused-request-has-no-job':
    'There are no more jobs of a request than attempts that were accepted or have no known outcome.',
  'key-is-bound-to-its-body': 'Of two bodies under one key only one is ever accepted.',
  'end-never-changes':
    'A terminal state that a client was shown, and its cost, is that of the ledger, now and for ever.',
  'bill-is-price-times-usage': 'A job costs what its tokens cost at the prices of when it was accepted.',
  'only-what-ran-is-billed': 'A job that costs anything has run to its end at some worker.',
  'ledger-within-limits': "At no moment does a period's sum of used and reserved tokens in the ledger pass its quota.",
  'redis-within-limits': 'After no command is held and used in Redis above a limit, or below nothing.',
  'in-flight-within-limits':
    'At no moment are more jobs, or tokens, held by jobs that have not ended than a limit allows.',
  'rates-within-limits': 'In no stretch of time is more accepted than a full bucket and what flows into it.',
  'redis-equals-ledger': 'At rest, what Redis counts as used in a period is what the ledger sums up to.',
  'no-hold-without-job': 'At rest nothing is held.',
  'rollup-equals-ledger': 'At rest the roll-up is the sum of the ledger.',
  'books-reconcile': 'At rest no view of the reconciliation has a row.',
  'nothing-stuck':
    'Within bounded time after all is healed: every request is answered, every queue empty, every job ended.',
  'no-internal-error': "No client is told of an error that is none of the product's own.",
} as const;

export type InvariantName = keyof typeof INVARIANTS;

/** An invariant did not hold. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';

  constructor(
    readonly invariant: InvariantName,
    detail: string,
  ) {
    super(detail);
  }
}

/** Checks invariants, and counts how often. */
export interface Checker {
  /** @throws InvariantError with what `detail` says, unless `holds`. */
  readonly check: (invariant: InvariantName, holds: boolean, detail: () => string) => void;
  readonly counts: Readonly<Record<string, number>>;
}

export function createChecker(): Checker {
  const counts: Record<string, number> = {};
  return {
    counts,
    check(invariant, holds, detail) {
      counts[invariant] = (counts[invariant] ?? 0) + 1;
      if (!holds) throw new InvariantError(invariant, detail());
    },
  };
}
