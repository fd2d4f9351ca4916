import {
  COUNT_BOUNDS,
  DURATION_BOUNDS,
  TOKEN_BOUNDS,
  WAIT_BOUNDS,
  type Counter,
  type Metrics,
} from '@sluice/telemetry';
import type { VersionLabel } from '../models/version-labels.js';
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
  /** Brings the gauges up to date, before they are rendered. */
  update(waiting: ReadonlyMap<string, Waiting>): void;
  /** Mean tokens of the texts of a model that began to run so far; undefined before the first. */
  meanTokens(model: string): number | undefined;
  /** Forgets what was counted of other models, by their keys. */
  keepOnly(models: ReadonlySet<string>): void;
}

/** Counts what is scheduled, by the model's key. `labelOf` says how metrics name it. */
export function createSchedulingMetrics(metrics: Metrics, labelOf: (key: string) => VersionLabel): SchedulingMetrics {
  const families = familiesOf(metrics);
  const { batches, waitingTexts, waitingTokens } = families;
  const instruments = new Map<string, Instruments>();

  /** n.b. kept, because some runs take hardly longer than looking eight metrics up. */
  function of(model: string): Instruments {
    let found = instruments.get(model);
    if (!found) instruments.set(model, (found = instrumentsOf(families, labelOf(model))));
    return found;
  }

  return {
    begun(model, reason, begun) {
      const { label, byReason, sums, texts, tokens, padding, waits, batchTexts, batchTokens } = of(model);
      const nowMs = performance.now();
      let counter = byReason.get(reason);
      if (!counter) byReason.set(reason, (counter = batches.of({ ...label, reason })));
      counter.add();
      let longest = 0;
      let sum = 0;
      for (const text of begun) {
        waits.observe((nowMs - text.addedAtMs) / 1000);
        longest = Math.max(longest, text.tokens);
        sum += text.tokens;
      }
      texts.add(begun.length);
      tokens.add(sum);
      sums.texts += begun.length;
      sums.tokens += sum;
      batchTexts.observe(begun.length);
      batchTokens.observe(sum);
      if (begun[0]?.batchable) padding.add(longest * begun.length - sum);
    },
    ran(model, computeMs) {
      of(model).runs.observe(computeMs / 1000);
    },
    meanTokens(model) {
      const sums = instruments.get(model)?.sums;
      return sums && sums.texts > 0 ? sums.tokens / sums.texts : undefined;
    },
    keepOnly(models) {
      for (const [model, { label }] of instruments) {
        if (!models.has(model) || label !== labelOf(model)) instruments.delete(model);
      }
      const kept = new Set([...models].map((model) => idOf(labelOf(model))));
      for (const family of Object.values(families)) family.forget((labels) => !kept.has(idOf(labels)));
    },
    update(waiting) {
      waitingTexts.clear();
      waitingTokens.clear();
      const shown = new Map<string, Waiting>();
      for (const model of new Set([...instruments.keys(), ...waiting.keys()])) {
        const label = labelOf(model);
        const before = shown.get(idOf(label));
        const { texts, tokens } = waiting.get(model) ?? { texts: 0, tokens: 0 };
        // n.b. after a change of its folder, a public name leads to the same number of another one while that still has jobs.
        const sum = { texts: texts + (before?.texts ?? 0), tokens: tokens + (before?.tokens ?? 0) };
        shown.set(idOf(label), sum);
        waitingTexts.of(label).set(sum.texts);
        waitingTokens.of(label).set(sum.tokens);
      }
    },
  };
}

function idOf({ model, version }: VersionLabel): string {
  return `${model} ${version}`;
}

type Families = ReturnType<typeof familiesOf>;

function familiesOf(metrics: Metrics) {
  const version = ['model', 'version'] as const;
  return {
    batches: metrics.counter('sluice_worker_batches_total', 'Batches that began to run, by why they were closed.', [
      ...version,
      'reason',
    ]),
    texts: metrics.counter('sluice_worker_texts_total', 'Texts that began to run.', version),
    tokens: metrics.counter('sluice_worker_tokens_total', 'Real tokens of the texts that began to run.', version),
    padding: metrics.counter(
      'sluice_worker_padding_tokens_total',
      'Tokens that were added to bring texts of a batch to one length.',
      version,
    ),
    batchTexts: metrics.histogram('sluice_worker_batch_texts', 'Texts in a batch.', COUNT_BOUNDS, version),
    batchTokens: metrics.histogram('sluice_worker_batch_tokens', 'Real tokens in a batch.', TOKEN_BOUNDS, version),
    waits: metrics.histogram(
      'sluice_worker_queue_wait_seconds',
      'Time between a text and the begin of its run, within the worker.',
      WAIT_BOUNDS,
      version,
    ),
    runs: metrics.histogram(
      'sluice_inference_seconds',
      'What the session took for a batch that ran to its end.',
      DURATION_BOUNDS,
      version,
    ),
    waitingTexts: metrics.gauge('sluice_worker_waiting_texts', 'Texts that wait for a process.', version),
    waitingTokens: metrics.gauge('sluice_worker_waiting_tokens', 'Real tokens of the texts that wait.', version),
  };
}

/** Those of one version. */
type Instruments = ReturnType<typeof instrumentsOf>;

function instrumentsOf(families: Families, label: VersionLabel) {
  const { texts, tokens, padding, batchTexts, batchTokens, waits, runs } = families;
  return {
    label,
    byReason: new Map<BatchReason, Counter>(),
    sums: { texts: 0, tokens: 0 },
    texts: texts.of(label),
    tokens: tokens.of(label),
    padding: padding.of(label),
    batchTexts: batchTexts.of(label),
    batchTokens: batchTokens.of(label),
    waits: waits.of(label),
    runs: runs.of(label),
  };
}
