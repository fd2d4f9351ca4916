import { isBatchable, isServiceError, ServiceError, type JobClass } from '@sluice/contracts';
import type { Logger } from '@sluice/runtime';
import type { Span } from '@sluice/telemetry';
import type { RunBounds } from '../inference/inference-child.js';
import type { InferenceHost } from '../inference/inference-host.js';
import type { ServedModel } from '../models/served-models.js';
import { beginBatchSpan } from './batch-span.js';
import type { Batch, Batcher, Waiting } from './batcher.js';
import { companyPays, type ModelBatching } from './batching.js';
import {
  beginText,
  endIfDone,
  fail,
  isTensorWork,
  isUnwanted,
  newJob,
  storeRow,
  storeTensors,
  textsOf,
  tokensAt,
  type QueuedText,
  type RunningJob,
  type Work,
  type WorkOutcome,
} from './running-job.js';
import type { SchedulingObserver } from './scheduling-metrics.js';
import { createTimeLimits } from './time-limits.js';

/**
 * How much later than it came a text of a class counts as due. Urgent classes overtake, but only texts that came less
 * than the difference before them, so no class starves another.
 */
const DUE_AFTER_MS: Readonly<Record<JobClass, number>> = { interactive: 0, standard: 250, batch: 2_000 };

export interface Scheduler {
  /** Texts that wait for a process. */
  readonly waiting: number;
  /** The same by model, with their tokens; models of which nothing waits are left out. */
  waitingByModel(): ReadonlyMap<string, Waiting>;
  /** Whether texts of this model wait or run. */
  waitingFor(model: string): boolean;
  /**
   * Runs all texts of a job, in as many batches as it takes, together with texts of other jobs, or as many of them as
   * have begun when `cancel` is called.
   *
   * @throws ServiceError `inference_failed`, `inference_crashed` or `inference_timeout` when one of the job's own texts
   *   was the cause: it is known because the text was alone in the run, and had the whole time limit if it took too long.
   *   `model_unavailable` when no process has the model any more. Also what `onStart` throws.
   */
  run(work: Work): Promise<WorkOutcome>;
  /**
   * Begins no more texts of work that was given to `run`. Runs under way go on, except that one in which nothing but
   * cancelled work is left is stopped when it lasts. Does nothing when the work has ended.
   */
  cancel(work: Work): void;
}

export interface SchedulerOptions {
  readonly host: InferenceHost;
  readonly batcher: Batcher<QueuedText>;
  /** How the texts of a model are batched. */
  readonly batchingOf: (served: ServedModel) => ModelBatching;
  readonly observer: SchedulingObserver;
  /** Longest that a run may take, in milliseconds. */
  readonly timeoutMs: number;
  /**
   * How long a run that nobody waits for may still go on at least, in milliseconds: stopping it costs a process, and most runs
   * are over before another has loaded its models.
   */
  readonly cancelGraceMs: number;
  readonly logger: Logger;
}

/** A run under way. */
interface Run {
  readonly model: string;
  /** At least one. */
  readonly texts: readonly QueuedText[];
  /** The longest that it may take, in milliseconds. */
  readonly limitMs: number;
  readonly predictedMs: number;
  /** By `performance.now()`. */
  readonly beganMs: number;
  /** Ends the run together with its process. */
  readonly stop: AbortController;
  /** Undefined when no job of it is recorded. */
  readonly span: Span | undefined;
  stopTimer?: NodeJS.Timeout;
}

/** Why a text does not run for the first time. */
type Isolation = Pick<QueuedText, 'alone' | 'overran'>;
const NONE: Isolation = { alone: false, overran: false };
const ALONE: Isolation = { alone: true, overran: false };
const OVERRAN: Isolation = { alone: true, overran: true };

/**
 * Feeds idle inference processes with batches. When a batch goes wrong, each of its texts is run again by itself, so
 * that only the text that is the cause fails.
 *
 * ```
 * shared run ──(wrong)──▶ by itself ──(overran)──▶ by itself, with the whole time limit
 *                             └──(wrong)──▶ its job fails ◀──(wrong)──┘
 * ```
 */
export function createScheduler(options: SchedulerOptions): Scheduler {
  const { host, batcher, batchingOf, observer, timeoutMs, cancelGraceMs, logger } = options;
  const limits = createTimeLimits({ timeoutMs, processes: () => host.warm });
  const mayLead = (text: QueuedText): boolean => host.canRun(text.model) && limits.mayBegin(text);
  const goesFirst = (text: QueuedText): boolean => mayLead(text) && !limits.shouldYield(text);
  const jobs = new Map<Work, RunningJob>();
  const runs = new Set<Run>();
  let pumping = false;
  let timer: NodeJS.Timeout | undefined;

  function add(job: RunningJob, index: number, { alone, overran }: Isolation): void {
    const { served, class: jobClass } = job.work;
    const batchable = isBatchable(served.model.file);
    const batching = batchingOf(served);
    const { maxDelayMs, targetLatencyMs } = batching.limits;
    const nowMs = performance.now();
    // A text without tokens still takes a column of the run.
    const tokens = Math.max(1, tokensAt(job.work, index));
    const aloneMs = batching.cost.runMs(1, tokens);
    // Every process may have begun a run just before, so a text with a deadline is due one run earlier.
    const spareMs = Math.max(0, job.startByMs - nowMs - aloneMs - targetLatencyMs);
    const mayWaitMs = jobClass === 'interactive' ? 0 : Math.min(maxDelayMs, spareMs);
    const isUrgent = mayWaitMs < maxDelayMs;
    const isPaid = batchable && companyPays(batching, tokens);
    // n.b. no spread: made for each text.
    const text: QueuedText = {
      job,
      index,
      alone,
      overran,
      batchable,
      batching,
      tokens,
      aloneMs,
      model: served.key,
      addedAtMs: nowMs,
      // n.b. not before it came: a deadline lets a text overtake others of its class, but nothing that came long before.
      dueAtMs: nowMs + Math.min(DUE_AFTER_MS[jobClass], spareMs),
      ripeAtMs: isPaid ? nowMs + mayWaitMs : nowMs,
      hurry: isUrgent ? 'deadline' : isPaid ? undefined : 'waste',
    };
    job.queued[index] = text;
    batcher.add(text);
  }

  /** Takes the texts of a job that have not begun out of the batcher. */
  function drop(job: RunningJob): void {
    for (const text of job.queued.splice(0)) if (text) batcher.remove(text);
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

  /** Texts of a model that no process has any more would wait for ever: their jobs are tried again, here or elsewhere. */
  function failUnavailable(): void {
    for (const [model, reason] of host.unavailable) {
      if (!batcher.has(model)) continue;
      // n.b. the reason is for operators: it may name files.
      const problem = new ServiceError('model_unavailable', 'No inference process has the model.', {
        cause: `${model}: ${reason}`,
      });
      for (const job of jobs.values()) {
        if (job.work.served.key !== model || !job.queued.some(Boolean)) continue;
        drop(job);
        fail(job, problem);
      }
    }
  }

  function pump(): void {
    clearTimeout(timer);
    if (host.unavailable.size > 0) failUnavailable();
    while (host.idle > 0) {
      const batch = next(performance.now());
      if (!batch) break;
      begin(batch);
    }
    const ripeAtMs = host.idle > 0 ? batcher.ripeAtMs(goesFirst) : undefined;
    if (ripeAtMs !== undefined) timer = setTimeout(pump, Math.max(1, ripeAtMs - performance.now()));
  }

  /** n.b. whoever yields does so also to texts that wait for company. */
  function next(nowMs: number): Batch<QueuedText> | undefined {
    const batch = batcher.take(nowMs, goesFirst);
    return batch || batcher.ripeAtMs(goesFirst) !== undefined ? batch : batcher.take(nowMs, mayLead);
  }

  function begin({ texts: taken, reason }: Batch<QueuedText>): void {
    const texts = taken.filter(beginText);
    const [first] = texts;
    if (!first) return;
    observer.begun(first.model, reason, texts);
    const predictedMs = predictedMsOf(texts);
    const limitMs = limits.limitMs(first, predictedMs);
    const beganMs = performance.now();
    const span = beginBatchSpan(texts, reason);
    const stop = new AbortController();
    void runBatch({ model: first.model, texts, limitMs, predictedMs, beganMs, stop, span }, first);
  }

  async function runBatch(run: Run, first: QueuedText): Promise<void> {
    const { model, texts, predictedMs, stop } = run;
    const end = limits.begin(first);
    runs.add(run);
    try {
      const computeMs = await compute(run);
      observer.ran(model, computeMs);
      run.span?.set({ 'sluice.batch.compute_seconds': computeMs / 1000 });
      first.batching.cost.observe(predictedMs, computeMs, first.overran);
      for (const { job } of texts) job.running -= 1;
    } catch (error) {
      for (const { job } of texts) job.running -= 1;
      if (!stop.signal.aborted) wentWrong(run, toServiceError(error));
    } finally {
      run.span?.end();
      runs.delete(run);
      clearTimeout(run.stopTimer);
      end();
      // n.b. a text may wait for this run to end though a process was idle all the time.
      pumpSoon();
    }
    for (const { job } of texts) endIfDone(job);
  }

  /** Runs texts, or the tensors of one job, and puts what comes out into their jobs. Returns what the session took. */
  async function compute(run: Run): Promise<number> {
    const { model, texts } = run;
    const [first] = texts;
    const bounds = boundsOf(run);
    const work = first?.job.work;
    if (first && work && isTensorWork(work)) {
      const { tensors, computeMs } = await host.runTensors(model, work.tensors, bounds);
      storeTensors(first, tensors);
      return computeMs;
    }
    const { rows, computeMs } = await host.run(model, texts.map(sequenceOf), bounds);
    const dimensions = rows.length / texts.length;
    texts.forEach((text, position) => storeRow(text, rows, position, dimensions));
    return computeMs;
  }

  function wentWrong(run: Run, problem: ServiceError): void {
    const { model, texts, span } = run;
    span?.fail(problem.code);
    if (problem.code === 'inference_timeout') texts[0]?.batching.cost.overran();
    logger.warn({ err: problem, model, texts: texts.length, traceId: span?.traceId }, 'a batch went wrong');
    for (const text of texts) if (!isUnwanted(text.job)) blame(text, run, problem);
  }

  /** A text that is not the cause for certain runs again by itself; a certain one fails its job. */
  function blame(text: QueuedText, run: Run, problem: ServiceError): void {
    const byItself = run.texts.length === 1;
    if (!byItself || !isCertain(text, run, problem)) {
      const overran = byItself && problem.code === 'inference_timeout';
      return add(text.job, text.index, overran ? OVERRAN : ALONE);
    }
    drop(text.job);
    fail(text.job, problem);
  }

  /** Whether a text that ran by itself is the cause: something else may have ended its process the first time. */
  function isCertain({ alone }: QueuedText, { limitMs }: Run, { code }: ServiceError): boolean {
    if (code === 'inference_failed') return true;
    return code === 'inference_timeout' ? limitMs === timeoutMs : alone;
  }

  /** n.b. texts of jobs that go on may share the run: then it runs to its end. */
  function stopIfUnwanted(run: Run): void {
    if (run.stopTimer || !run.texts.every(({ job }) => isUnwanted(job))) return;
    run.stopTimer = setTimeout(() => {
      logger.info({ model: run.model, texts: run.texts.length }, 'a run of cancelled jobs is stopped');
      run.stop.abort();
    }, graceMs(run));
  }

  /**
   * For how long a run that nobody waits for goes on: as long as one like it takes, unless another process would be loaded by then. A run
   * that is stopped sooner costs more than it saves.
   */
  function graceMs({ texts: [first], predictedMs, beganMs }: Run): number {
    const { slowestMs = 0, provenMs = 0 } = first?.batching.cost ?? {};
    const usualMs = Math.max(predictedMs, slowestMs, provenMs);
    const leftMs = usualMs - (performance.now() - beganMs);
    return Math.max(cancelGraceMs, Math.min(leftMs, host.loadMs));
  }

  host.onIdle(pumpSoon);

  return {
    get waiting() {
      return batcher.size;
    },
    waitingByModel: () => batcher.waiting(),
    waitingFor(model) {
      for (const run of runs) if (run.model === model) return true;
      return batcher.has(model);
    },
    run(work) {
      const texts = textsOf(work);
      if (texts === 0) return Promise.resolve({ state: 'ran', rows: new Float32Array(0) });
      const finished = new Promise<WorkOutcome>((resolve, reject) => {
        const job = newJob(work, resolve, reject);
        jobs.set(work, job);
        for (let index = 0; index < texts; index++) add(job, index, work.alone ? ALONE : NONE);
        pumpSoon();
      });
      return finished.finally(() => jobs.delete(work));
    },
    cancel(work) {
      const job = jobs.get(work);
      if (!job || isUnwanted(job)) return;
      job.canceled = true;
      drop(job);
      endIfDone(job);
      if (job.running > 0) for (const run of runs) if (run.texts.some((text) => text.job === job)) stopIfUnwanted(run);
    },
  };
}

function boundsOf({ limitMs, stop: { signal: stop }, span }: Run): RunBounds {
  if (span === undefined) return { limitMs, stop };
  return { limitMs, stop, onProcess: (pid) => span.set({ 'sluice.inference.pid': pid }) };
}

function sequenceOf({ job: { work }, index }: QueuedText): Int32Array {
  return (isTensorWork(work) ? undefined : work.sequences[index]) ?? new Int32Array(0);
}

/** What the session should take, in milliseconds. */
function predictedMsOf(texts: readonly QueuedText[]): number {
  const [first] = texts;
  if (!first) return 0;
  const { cost } = first.batching;
  if (!first.batchable) return texts.reduce((sum, { tokens }) => sum + cost.runMs(1, tokens), 0);
  return cost.runMs(
    texts.length,
    texts.reduce((longest, { tokens }) => Math.max(longest, tokens), 0),
  );
}

function toServiceError(error: unknown): ServiceError {
  return isServiceError(error) ? error : new ServiceError('internal', 'Inference failed.', { cause: error });
}
