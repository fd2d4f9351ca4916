import { ack, dead, retry, type Delivery, type Settlement } from '@sluice/broker';
import type { MarkerMessage, StartedMessage } from '@sluice/contracts';
import type { Logger } from '@sluice/runtime';
import type { Tracer } from '@sluice/telemetry';
import type { Accounting } from './accounting.js';
import { endFactTraces, followFacts, type FactTraces } from './fact-traces.js';
import { factKey } from './facts.js';
import { persist, StoppedError } from './persistence.js';
import { decodeResult, type ResultMessage } from './result-message.js';

/**
 * Answer of a handler that was told to stop. The consumer, which is stopping as well, does not call it again but
 * gives the delivery back to its queue.
 */
export const giveBack: Settlement = retry(200);

export interface ResultsHandlerOptions {
  readonly accounting: Accounting;
  /** Notes in Redis that jobs are running. */
  readonly noteRunning: (jobs: StartedMessage['jobs']) => Promise<void>;
  /** Tells whoever passes a fence that its marker was received. */
  readonly answerMarker: (marker: MarkerMessage) => Promise<void>;
  /** Aborts when the collector stops. */
  readonly signal: AbortSignal;
  readonly tracer: Tracer;
  readonly logger: Logger;
}

/**
 * Handles a batch of the `results` queue. What cannot be read or recorded goes to `dead` alone; the rest is booked and
 * acknowledged. It waits for the servers it needs, so a fact never burns an attempt; what is still waiting when the
 * collector stops goes back to the queue. Markers are answered at once: they say what was delivered, not what is booked.
 */
export function createResultsHandler(options: ResultsHandlerOptions) {
  const { accounting, noteRunning, answerMarker, signal, tracer, logger } = options;

  /** n.b. a marker that was taken and not answered would hold up its fence until that gives up. */
  async function answer(messages: readonly ResultMessage[]): Promise<void> {
    const markers = messages.flatMap((message) => (message.kind === 'marker' ? [message.marker] : []));
    const onFailure = (error: unknown, attempt: number): void =>
      logger.warn({ err: error, attempt }, 'a marker could not be answered');
    await Promise.all(markers.map((marker) => persist(() => answerMarker(marker), { signal, onFailure })));
  }

  /** Tried once: it is a state that nothing depends on. */
  async function note(messages: readonly ResultMessage[]): Promise<void> {
    const jobs = messages.flatMap((message) => (message.kind === 'started' ? message.jobs : []));
    if (jobs.length === 0) return;
    await noteRunning(jobs).catch((error: unknown) => {
      logger.warn({ err: error, jobs: jobs.length }, 'jobs could not be shown as running');
    });
  }

  async function book(
    messages: readonly ResultMessage[],
    traces: FactTraces | undefined,
  ): Promise<readonly Settlement[]> {
    const facts = messages.flatMap((message) => (message.kind === 'fact' ? [message.fact] : []));
    const refused = await accounting.book(facts, signal, traces);
    endFactTraces(traces, refused);
    return messages.map((message) => {
      if (message.kind === 'unreadable') return dead(message.problem);
      if (message.kind !== 'fact') return ack;
      const reason = refused.get(factKey(message.fact.type, message.fact.message.jobId));
      return reason === undefined ? ack : dead(`unrecordable: ${reason}`);
    });
  }

  return async (deliveries: readonly Delivery[]): Promise<readonly Settlement[]> => {
    const messages = deliveries.map(decodeResult);
    const traces = followFacts(tracer, deliveries, messages);
    try {
      const [settlements] = await Promise.all([book(messages, traces), answer(messages), note(messages)]);
      return settlements;
    } catch (error) {
      if (error instanceof StoppedError) return deliveries.map(() => giveBack);
      throw error;
    } finally {
      endFactTraces(traces);
    }
  };
}
