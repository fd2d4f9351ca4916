import { tierFor, type Settlement } from '@sluice/broker';
import { acceptedAtMs, type AcceptedMessage, type CompletedMessage, type ErrorCode } from '@sluice/contracts';
import { WAIT_BOUNDS, type Metrics } from '@sluice/telemetry';
import { OTHER_ERRORS, RETRY_POLICY } from './retry-policy.js';

/** Hears what becomes of jobs. */
export interface JobObserver {
  /** Inference of a first attempt begins, at this time by the clock of jobs (Unix milliseconds). */
  began(message: AcceptedMessage, nowMs: number): void;
  /** The end of a job was published. */
  ended(completed: CompletedMessage): void;
  /** An attempt went wrong and is settled so; `internal` for an error that nobody foresaw. */
  failed(code: ErrorCode | 'malformed_message', settlement: Settlement): void;
}

export function createJobMetrics(metrics: Metrics): JobObserver {
  const waits = metrics.histogram(
    'sluice_job_queue_wait_seconds',
    'From the acceptance of a job to the begin of its inference, of first attempts.',
    WAIT_BOUNDS,
    ['model', 'class'],
  );
  const ended = metrics.counter('sluice_worker_jobs_total', 'Jobs that ended here, by state.', ['model', 'state']);
  const input = metrics.counter('sluice_worker_input_tokens_total', 'Input tokens that jobs are billed for.', [
    'model',
  ]);
  const output = metrics.counter('sluice_worker_output_tokens_total', 'Output tokens that jobs are billed for.', [
    'model',
  ]);
  const retries = metrics.counter(
    'sluice_retries_total',
    'Attempts that went wrong and are made again, by code and pause.',
    ['code', 'tier'],
  );
  const deaths = metrics.counter(
    'sluice_worker_dead_letters_total',
    'Jobs that were moved to the dead queue, by code.',
    ['code'],
  );
  // Known from the start, so that the first of each is seen as a growth.
  for (const [code, { tiers }] of Object.entries({ ...RETRY_POLICY, internal: OTHER_ERRORS })) {
    for (const tier of tiers) retries.of({ code, tier });
    if (tiers.length > 0) deaths.of({ code });
  }

  return {
    began(message, nowMs) {
      waits.of({ model: message.model, class: message.class }).observe((nowMs - acceptedAtMs(message)) / 1000);
    },
    ended({ model, state, usage }) {
      ended.of({ model, state }).add();
      input.of({ model }).add(usage.inputTokens);
      output.of({ model }).add(usage.outputTokens);
    },
    failed(code, settlement) {
      if (settlement.kind === 'retry') retries.of({ code, tier: tierFor(settlement.delayMs).name }).add();
      if (settlement.kind === 'dead') deaths.of({ code }).add();
    },
  };
}
