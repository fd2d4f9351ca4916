import { ack, dead, retry, type Delivery, type Settlement } from '@sluice/broker';
import type { Accounting } from './accounting.js';
import type { Backlog } from './backlog.js';
import { decodeFact, factKey } from './facts.js';
import { StoppedError } from './persistence.js';

/**
 * Answer of a handler that was told to stop. The consumer, which is stopping as well, does not call it again but
 * gives the delivery back to its queue.
 */
export const giveBack: Settlement = retry(200);

export interface ResultsHandlerOptions {
  readonly accounting: Accounting;
  readonly backlog: Backlog;
  /** Aborts when the collector stops. */
  readonly signal: AbortSignal;
  /** Unix milliseconds. */
  readonly now: () => number;
}

/**
 * Handles a batch of the `results` queue. What cannot be read or recorded goes to `dead` alone; the rest is booked and
 * acknowledged. It waits for the servers it needs, so a fact never burns an attempt; what is still waiting when the
 * collector stops goes back to the queue.
 */
export function createResultsHandler({ accounting, backlog, signal, now }: ResultsHandlerOptions) {
  return async (deliveries: readonly Delivery[]): Promise<readonly Settlement[]> => {
    const startedAtMs = now();
    const decoded = deliveries.map(decodeFact);
    const facts = decoded.flatMap(({ fact }) => (fact === undefined ? [] : [fact]));
    try {
      const refused = await accounting.book(facts, signal);
      backlog.handled({ deliveries: deliveries.length, facts, startedAtMs });
      return decoded.map(({ fact, problem }) => {
        if (fact === undefined) return dead(problem);
        const reason = refused.get(factKey(fact.type, fact.message.jobId));
        return reason === undefined ? ack : dead(`unrecordable: ${reason}`);
      });
    } catch (error) {
      if (error instanceof StoppedError) return deliveries.map(() => giveBack);
      throw error;
    }
  };
}
