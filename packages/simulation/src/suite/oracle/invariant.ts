/** What must hold whatever happens; docs/proof.md says what each means. */
export const INVARIANTS = [
  'accepted-job-ends-once',
  'no-job-without-request',
  'one-job-per-key',
  'refused-request-has-no-job',
  'key-is-bound-to-its-body',
  'end-never-changes',
  'bill-is-price-times-usage',
  'only-what-ran-is-billed',
  'ledger-within-limits',
  'redis-within-limits',
  'in-flight-within-limits',
  'rates-within-limits',
  'redis-equals-ledger',
  'no-hold-without-job',
  'rollup-equals-ledger',
  'books-reconcile',
  'nothing-stuck',
  'no-internal-error',
] as const;

export type InvariantName = (typeof INVARIANTS)[number];

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
