import type { Fact } from '@sluice/store';
import type { Recorder } from './recorder.js';
import type { Settler } from './settlement.js';

export interface Accounting {
  /**
   * Takes facts into the books: PostgreSQL first, then the holds in Redis. Facts may come in any order and any number
   * of times; when it has resolved they may be forgotten. Returns the facts that can never be recorded, by `factKey`,
   * with the reason.
   *
   * @throws StoppedError when the signal aborts first; the facts must then be delivered again.
   */
  book(facts: readonly Fact[], signal: AbortSignal): Promise<ReadonlyMap<string, string>>;
}

/**
 * The one way into the books, for results, dead jobs and expired jobs alike.
 *
 * ```
 * facts ─▶ ledger, roll-up, job (one transaction) ─▶ hold settled in Redis ─▶ the caller acknowledges
 * ```
 *
 * A crash between two steps is healed by the redelivery: the insert and the settlement of something that is already
 * recorded or settled change nothing. Hence facts that are *not* new are settled too.
 */
export function createAccounting({ recorder, settler }: { recorder: Recorder; settler: Settler }): Accounting {
  return {
    async book(facts, signal) {
      const { settlements, refused } = await recorder.record(facts, signal);
      await settler.settle(settlements, signal);
      return refused;
    },
  };
}
