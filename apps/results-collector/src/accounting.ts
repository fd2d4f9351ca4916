import type { Fact } from '@sluice/store';
import { databaseSpan, withinShared } from '@sluice/telemetry';
import type { Announcer } from './announcer.js';
import { spansOf, type FactTraces } from './fact-traces.js';
import { factKey } from './facts.js';
import type { Recorder } from './recorder.js';
import { settlementOf, type Settler } from './settlement.js';

export interface Accounting {
  /**
   * Takes facts into the books: PostgreSQL first, then the holds in Redis. Facts may come in any order and any number
   * of times; when it has resolved they may be forgotten. Returns the facts that can never be recorded, by `factKey`,
   * with the reason.
   *
   * @param traces of those facts that belong to any.
   * @throws StoppedError when the signal aborts first; the facts must then be delivered again.
   */
  book(facts: readonly Fact[], signal: AbortSignal, traces?: FactTraces): Promise<ReadonlyMap<string, string>>;
}

export interface AccountingOptions {
  readonly recorder: Recorder;
  readonly settler: Settler;
  readonly announcer: Pick<Announcer, 'announce'>;
}

/**
 * The one way into the books, for results, dead jobs and expired jobs alike.
 *
 * ```
 * facts ─▶ ledger, roll-up, job (one transaction) ─▶ hold settled in Redis ─▶ event ─▶ the caller acknowledges
 * ```
 *
 * A crash between two steps is healed by the redelivery: the insert and the settlement of something that is already
 * recorded or settled change nothing, and an event may be told twice. Hence facts that are *not* new are settled and
 * told too.
 */
export function createAccounting({ recorder, settler, announcer }: AccountingOptions): Accounting {
  return {
    async book(facts, signal, traces) {
      const { refused, ...booked } = await withinShared(
        spansOf(traces),
        'record facts',
        () => recorder.record(facts, signal),
        databaseSpan('postgresql', 'record-facts', facts.length),
      );
      const settlements = booked.ended.map(({ fact, record }) => settlementOf(fact, record));
      await withinShared(
        spansOf(traces, () => booked.ended.map(({ fact }) => factKey('completed', fact.jobId))),
        'settle holds',
        () => settler.settle(settlements, signal),
        databaseSpan('redis', 'settle', settlements.length),
      );
      await announcer.announce(booked, signal, traces);
      return refused;
    },
  };
}
