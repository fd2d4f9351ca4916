import type { JobClass } from '@sluice/contracts';
import type { BatchItem } from './batcher.js';
import type { ServedModel } from '../models/served-models.js';

/** The texts of one job, to be run by one model. */
export interface Work {
  readonly served: ServedModel;
  readonly class: JobClass;
  /** Token ids of each text. */
  readonly sequences: readonly Int32Array[];
  /** Run every text by itself from the start, because an earlier attempt went wrong. */
  readonly alone: boolean;
  /** How long from now its first text may begin to run, in milliseconds; below 0 when it is late already. */
  readonly remainingMs: number;
  /** Called once, when the first text of the job is about to run; what it throws ends the job instead. */
  readonly onStart?: () => void;
}

/** What came of the texts of a job. */
export type WorkOutcome =
  /** All ran. `rows`: float32 `[sequences, dimensions]`, in the order of the texts. */
  | { readonly state: 'ran'; readonly rows: Float32Array }
  /** The job was cancelled before all ran. `ranTokens`: tokens of the texts that ran to their end. */
  | { readonly state: 'canceled'; readonly ranTokens: number };

/** A text in the batcher, with the way back to its job. */
export interface QueuedText extends BatchItem {
  readonly job: RunningJob;
  /** Position in the job. */
  readonly index: number;
  readonly addedAtMs: number;
}

/**
 * A job at the scheduler.
 *
 * ```
 * each text:  queued ──(its turn comes)──▶ running ──▶ stored
 *                └◀──(to run alone)───────────┘
 * the job:    open ──(every text stored)────────────────────────▶ ended: ran
 *               ├─(a text is the cause of a failure)────────────▶ ended: rejected
 *               └─(cancel: queued texts go)─▶ canceled ──(none running)─▶ ended: canceled, or ran after all
 * ```
 */
export interface RunningJob {
  readonly work: Work;
  /** Undefined before the first text has a row. */
  rows: Float32Array | undefined;
  /** By position: the text while it is in the batcher. */
  readonly queued: (QueuedText | undefined)[];
  /** Texts in a run now. */
  running: number;
  /** Texts without a row. */
  unfinished: number;
  /** Tokens of the texts that have a row. */
  ranTokens: number;
  begun: boolean;
  canceled: boolean;
  ended: boolean;
  readonly resolve: (outcome: WorkOutcome) => void;
  readonly reject: (error: unknown) => void;
}

/** n.b. no spread, with which the literal takes 2 µs instead of 10 ns, and no array of rows, which takes half of one. */
export function newJob(work: Work, resolve: RunningJob['resolve'], reject: RunningJob['reject']): RunningJob {
  const { length } = work.sequences;
  return {
    work,
    resolve,
    reject,
    rows: undefined,
    queued: new Array<QueuedText | undefined>(length),
    running: 0,
    unfinished: length,
    ranTokens: 0,
    begun: false,
    canceled: false,
    ended: false,
  };
}

/** Nobody waits for what the job's texts come to. */
export function isUnwanted(job: RunningJob): boolean {
  return job.canceled || job.ended;
}

/** A text has left the batcher to be run. False when it should not: nobody wants it, or the job refuses to begin. */
export function beginText({ job, index }: QueuedText): boolean {
  job.queued[index] = undefined;
  if (isUnwanted(job) || !beginJob(job)) return false;
  job.running += 1;
  return true;
}

function beginJob(job: RunningJob): boolean {
  if (job.begun) return true;
  job.begun = true;
  try {
    job.work.onStart?.();
    return true;
  } catch (error) {
    fail(job, error);
    return false;
  }
}

/** Puts a text's row of a run into its place in the job. The rows of a job of one text stay where they are. */
export function storeRow({ job, index }: QueuedText, rows: Float32Array, position: number): void {
  const { served, sequences } = job.work;
  const { dimensions } = served.model.file.output;
  const row = rows.subarray(position * dimensions, (position + 1) * dimensions);
  if (sequences.length === 1) {
    job.rows = row;
  } else {
    job.rows ??= new Float32Array(sequences.length * dimensions);
    job.rows.set(row, index * dimensions);
  }
  job.unfinished -= 1;
  job.ranTokens += sequences[index]?.length ?? 0;
}

/** Ends the job when nothing of it is to come. */
export function endIfDone(job: RunningJob): void {
  if (job.ended) return;
  if (job.unfinished === 0) end(job, { state: 'ran', rows: job.rows ?? new Float32Array(0) });
  else if (job.canceled && job.running === 0) end(job, { state: 'canceled', ranTokens: job.ranTokens });
}

export function fail(job: RunningJob, problem: unknown): void {
  if (job.ended) return;
  job.ended = true;
  job.reject(problem);
}

function end(job: RunningJob, outcome: WorkOutcome): void {
  job.ended = true;
  job.resolve(outcome);
}
