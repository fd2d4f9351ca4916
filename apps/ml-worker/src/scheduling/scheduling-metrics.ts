import type { Counter, Metrics } from '@sluice/telemetry';
import type { Waiting } from './batcher.js';
import type { BatchReason } from './batching.js';
import type { QueuedText } from './running-job.js';

/** Hears of every batch; see `createSchedulingMetrics`. */
export interface SchedulingObserver {
  /** Texts of a model leave for a process, and why there are no more of them. */
  begun(model: string, reason: BatchReason, texts: readonly QueuedText[]): void;
  /** The session ran a batch to its end. */
  ran(model: string, computeMs: number): void;
}

export interface SchedulingMetrics extends SchedulingObserver {
  /** Brings the metrics up to date, before they are rendered. */
  update(waiting: ReadonlyMap<string, Waiting>): void;
  /** Forgets what was counted of other models, by their keys. */
  keepOnly(models: ReadonlySet<string>): void;
}

/** What happened to a model since the metrics were last brought up to date. */
interface Tally {
  readonly batches: Map<BatchReason, number>;
  texts: number;
  tokens: number;
  paddingTokens: number;
  waitMs: number;
  computeMs: number;
}

/**
 * Counts what is scheduled, by the model's key. Sums are kept in plain numbers until somebody asks, because adding to a labelled
 * counter takes microseconds and some runs hardly take more.
 */
export function createSchedulingMetrics(metrics: Metrics): SchedulingMetrics {
  const counter = (name: string, help: string): Counter => metrics.counter(`sluice_worker_${name}`, help);
  const batches = counter('batches_total', 'Batches that began to run, by why they were closed.');
  const texts = counter('texts_total', 'Texts that began to run.');
  const tokens = counter('tokens_total', 'Real tokens of the texts that began to run.');
  const padding = counter('padding_tokens_total', 'Tokens that were added to bring texts of a batch to one length.');
  const compute = counter('compute_seconds_total', 'Time that sessions took for batches that ran to their end.');
  const waited = counter('queue_wait_seconds_sum', 'Time between a text and the begin of its run.');
  const waits = counter('queue_wait_seconds_count', 'Texts in sluice_worker_queue_wait_seconds_sum.');
  const waitingTexts = metrics.gauge('sluice_worker_waiting_texts', 'Texts that wait for a process.');
  const waitingTokens = metrics.gauge('sluice_worker_waiting_tokens', 'Real tokens of the texts that wait.');
  const tallies = new Map<string, Tally>();

  function tallyOf(model: string): Tally {
    let tally = tallies.get(model);
    if (!tally) tallies.set(model, (tally = emptyTally()));
    return tally;
  }

  return {
    begun(model, reason, begun) {
      const tally = tallyOf(model);
      const nowMs = performance.now();
      tally.batches.set(reason, (tally.batches.get(reason) ?? 0) + 1);
      let longest = 0;
      let sum = 0;
      for (const text of begun) {
        tally.waitMs += nowMs - text.addedAtMs;
        longest = Math.max(longest, text.tokens);
        sum += text.tokens;
      }
      tally.texts += begun.length;
      tally.tokens += sum;
      if (begun[0]?.batchable) tally.paddingTokens += longest * begun.length - sum;
    },
    ran(model, computeMs) {
      tallyOf(model).computeMs += computeMs;
    },
    keepOnly(models) {
      for (const model of tallies.keys()) if (!models.has(model)) tallies.delete(model);
      for (const metric of [batches, texts, tokens, padding, compute, waited, waits, waitingTexts, waitingTokens]) {
        metric.forget(({ model = '' }) => !models.has(model));
      }
    },
    update(waiting) {
      for (const model of new Set([...tallies.keys(), ...waiting.keys()])) {
        const tally = tallyOf(model);
        tallies.set(model, emptyTally());
        for (const [reason, count] of tally.batches) batches.add({ model, reason }, count);
        texts.add({ model }, tally.texts);
        tokens.add({ model }, tally.tokens);
        padding.add({ model }, tally.paddingTokens);
        compute.add({ model }, tally.computeMs / 1000);
        waited.add({ model }, tally.waitMs / 1000);
        waits.add({ model }, tally.texts);
        waitingTexts.set(waiting.get(model)?.texts ?? 0, { model });
        waitingTokens.set(waiting.get(model)?.tokens ?? 0, { model });
      }
    },
  };
}

function emptyTally(): Tally {
  return { batches: new Map(), texts: 0, tokens: 0, paddingTokens: 0, waitMs: 0, computeMs: 0 };
}
