import type { JobClass } from '@sluice/contracts';
import type { TensorBytes } from '@sluice/models';
import type { Span } from '@sluice/telemetry';
import type { BatchItem } from './batcher.js';
import type { ServedTensorModel, ServedTextModel } from '../models/served-models.js';

/** What the scheduler must know of all work. */
export interface AnyWork {
  readonly class: JobClass;
  /** Run every text by itself from the start, because an earlier attempt went wrong. */
  readonly alone: boolean;
  /** How long from now its first text may begin to run, in milliseconds; below 0 when it is late already. */
  readonly remainingMs: number;
  /** Called once, when the first text of the job is about to run; what it throws ends the job instead. */
  readonly onStart?: () => void;
  /** Of a job that is recorded: what its batches belong to, from when `onStart` was called. */
  readonly spans?: { readonly inference: Span | undefined } | undefined;
}

/** The texts of one job, to be run by one model. */
export interface TextWork extends AnyWork {
  readonly served: ServedTextModel;
  /** Token ids of each text. */
  readonly sequences: readonly Int32Array[];
}

/** The tensors of one job, to be run by one model. The scheduler counts them as one text, which shares no run. */
export interface TensorWork extends AnyWork {
  readonly served: ServedTensorModel;
  /** The inputs, in the order of `model.yaml`. */
  readonly tensors: readonly TensorBytes[];
  /** What the inputs are billed as. */
  readonly tokens: number;
}

export type Work = TextWork | TensorWork;

export function isTensorWork(work: Work): work is TensorWork {
  return 'tensors' in work;
}

/** What came of the texts or the tensors of a job. */
export type WorkOutcome =
  /** All ran. `rows`: float32 `[sequences, dimensions]`, in the order of the texts. */
  | { readonly state: 'ran'; readonly rows: Float32Array }
  /** The tensors ran. Those that came out, in the order of `model.yaml`. */
  | { readonly state: 'computed'; readonly tensors: readonly TensorBytes[] }
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
  /** Until when its first text should begin to run, by `performance.now()`. */
  readonly startByMs: number;
  /** Undefined before the first text has a row. */
  rows: Float32Array | undefined;
  /** Of a job of tensors: what came out. */
  tensors: readonly TensorBytes[] | undefined;
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
  const length = textsOf(work);
  return {
    work,
    startByMs: performance.now() + work.remainingMs,
    resolve,
    reject,
    rows: undefined,
    tensors: undefined,
    queued: new Array<QueuedText | undefined>(length),
    running: 0,
    unfinished: length,
    ranTokens: 0,
    begun: false,
    canceled: false,
    ended: false,
  };
}

/** How many texts the scheduler has to run. */
export function textsOf(work: Work): number {
  return isTensorWork(work) ? 1 : work.sequences.length;
}

/** Tokens of the text at a position. */
export function tokensAt(work: Work, index: number): number {
  return isTensorWork(work) ? work.tokens : (work.sequences[index]?.length ?? 0);
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
export function storeRow(text: QueuedText, rows: Float32Array, position: number, dimensions: number): void {
  const { job, index } = text;
  const row = rows.subarray(position * dimensions, (position + 1) * dimensions);
  const texts = textsOf(job.work);
  if (texts === 1) {
    job.rows = row;
  } else {
    job.rows ??= new Float32Array(texts * dimensions);
    job.rows.set(row, index * dimensions);
  }
  hasRun(text);
}

export function storeTensors(text: QueuedText, tensors: readonly TensorBytes[]): void {
  text.job.tensors = tensors;
  hasRun(text);
}

function hasRun({ job, index }: QueuedText): void {
  job.unfinished -= 1;
  job.ranTokens += tokensAt(job.work, index);
}

/** Ends the job when nothing of it is to come. */
export function endIfDone(job: RunningJob): void {
  if (job.ended) return;
  if (job.unfinished === 0) end(job, ranOf(job));
  else if (job.canceled && job.running === 0) end(job, { state: 'canceled', ranTokens: job.ranTokens });
}

function ranOf({ rows = new Float32Array(0), tensors }: RunningJob): WorkOutcome {
  return tensors ? { state: 'computed', tensors } : { state: 'ran', rows };
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
