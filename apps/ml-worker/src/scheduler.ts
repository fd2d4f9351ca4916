import { isServiceError, ServiceError, type JobClass } from '@sluice/contracts';
import type { Logger } from '@sluice/runtime';
import type { Batcher, BatchItem } from './batcher.js';
import type { InferenceHost } from './inference-host.js';
import type { ServedModel } from './served-models.js';

/**
 * How much later than it came a text of a class counts as due. Urgent classes overtake, but only texts that came less
 * than the difference before them, so no class starves another.
 */
const DUE_AFTER_MS: Readonly<Record<JobClass, number>> = { interactive: 0, standard: 250, batch: 2_000 };

/** The texts of one job, to be run by one model. */
export interface Work {
  readonly served: ServedModel;
  readonly class: JobClass;
  /** Token ids of each text. */
  readonly sequences: readonly Int32Array[];
  /** Run every text by itself from the start, because an earlier attempt went wrong. */
  readonly alone: boolean;
  /** Called once, when the first text of the job is about to run; what it throws ends the job instead. */
  readonly onStart?: () => void;
}

export interface Scheduler {
  /** Texts that wait for a process. */
  readonly waiting: number;
  /**
   * Runs all texts of a job, in as many batches as it takes, together with texts of other jobs.
   *
   * @returns float32 `[sequences, dimensions]`, in the order of the texts.
   * @throws ServiceError `inference_failed`, `inference_crashed` or `inference_timeout` when one of the job's own texts
   *   was the cause: it is known because the text was alone in the run. Also what `onStart` throws.
   */
  run(work: Work): Promise<Float32Array>;
}

export interface SchedulerOptions {
  readonly host: InferenceHost;
  readonly batcher: Batcher<QueuedText>;
  /** How long texts that are not interactive wait for company while a process is idle, in milliseconds. */
  readonly maxDelayMs: number;
  readonly logger: Logger;
}

/** A text in the batcher, with the way back to its job. */
export interface QueuedText extends BatchItem {
  readonly job: RunningJob;
  /** Position in the job. */
  readonly index: number;
}

interface RunningJob {
  readonly work: Work;
  readonly rows: Float32Array;
  unfinished: number;
  started: boolean;
  failed: boolean;
  readonly resolve: (rows: Float32Array) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Feeds idle inference processes with batches. When a batch goes wrong, each of its texts is run again by itself, so
 * that only the text that is the cause fails.
 */
export function createScheduler({ host, batcher, maxDelayMs, logger }: SchedulerOptions): Scheduler {
  let pumping = false;
  let timer: NodeJS.Timeout | undefined;

  function add(job: RunningJob, index: number, alone: boolean): void {
    const { served, class: jobClass, sequences } = job.work;
    const nowMs = performance.now();
    batcher.add({
      job,
      index,
      alone,
      model: served.key,
      batchable: served.model.file.batchable,
      // A text without tokens still takes a column of the run.
      tokens: Math.max(1, sequences[index]?.length ?? 0),
      lane: jobClass,
      dueAtMs: nowMs + DUE_AFTER_MS[jobClass],
      ripeAtMs: jobClass === 'interactive' ? nowMs : nowMs + maxDelayMs,
    });
  }

  /** What arrives, and what a finished run brings about, in the same turn of the event loop is seen first. */
  function pumpSoon(): void {
    if (pumping) return;
    pumping = true;
    setImmediate(() => {
      pumping = false;
      pump();
    });
  }

  function pump(): void {
    clearTimeout(timer);
    while (host.idle > 0) {
      const batch = batcher.take(performance.now());
      if (batch.length === 0) break;
      const wanted = batch.filter(({ job }) => begin(job));
      if (wanted.length > 0) void runBatch(wanted);
    }
    if (host.idle === 0 || batcher.ripeAtMs === undefined) return;
    timer = setTimeout(pump, Math.max(1, batcher.ripeAtMs - performance.now()));
  }

  async function runBatch(batch: readonly QueuedText[]): Promise<void> {
    try {
      const rows = await host.run(batch[0]?.model ?? '', batch.map(sequenceOf));
      batch.forEach((text, position) => store(text, rows, position));
    } catch (error) {
      const problem = toServiceError(error);
      logger.warn({ err: problem, model: batch[0]?.model, texts: batch.length }, 'a batch went wrong');
      for (const text of batch) blame(text, batch.length, problem);
      pumpSoon();
    }
  }

  /** A text that cannot be the cause for certain runs again by itself; a certain one fails its job. */
  function blame(text: QueuedText, texts: number, problem: ServiceError): void {
    const repeatable = texts === 1 && problem.code === 'inference_failed';
    if (text.alone || repeatable) fail(text.job, problem);
    else add(text.job, text.index, true);
  }

  host.onIdle(pumpSoon);

  return {
    get waiting() {
      return batcher.size;
    },
    run(work) {
      const { sequences, served } = work;
      if (sequences.length === 0) return Promise.resolve(new Float32Array(0));
      return new Promise((resolve, reject) => {
        const rows = new Float32Array(sequences.length * served.model.file.output.dimensions);
        const job = { work, rows, unfinished: sequences.length, started: false, failed: false, resolve, reject };
        for (const index of sequences.keys()) add(job, index, work.alone);
        pumpSoon();
      });
    },
  };
}

function sequenceOf({ job, index }: QueuedText): Int32Array {
  return job.work.sequences[index] ?? new Int32Array(0);
}

/** Whether a text of the job should run. */
function begin(job: RunningJob): boolean {
  if (job.failed || job.started) return !job.failed;
  job.started = true;
  try {
    job.work.onStart?.();
    return true;
  } catch (error) {
    fail(job, error);
    return false;
  }
}

function toServiceError(error: unknown): ServiceError {
  return isServiceError(error) ? error : new ServiceError('internal', 'Inference failed.', { cause: error });
}

/** Copies a text's row of a batch to its place in the job; the last one completes the job. */
function store({ job, index }: QueuedText, rows: Float32Array, position: number): void {
  const { dimensions } = job.work.served.model.file.output;
  job.rows.set(rows.subarray(position * dimensions, (position + 1) * dimensions), index * dimensions);
  job.unfinished -= 1;
  if (job.unfinished === 0) job.resolve(job.rows);
}

function fail(job: RunningJob, problem: unknown): void {
  job.failed = true;
  job.reject(problem);
}
