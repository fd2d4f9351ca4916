import {
  acceptedAtMs,
  elementsOf,
  type AcceptedMessage,
  type Datatype,
  type JobClass,
  type JobError,
  type JobOutput,
  type JobState,
  type Metadata,
  type TensorMessage,
  type Usage,
} from '@sluice/contracts';
import { jsonElements } from '@sluice/models';
import type { JobRecord } from '@sluice/store';

/** Most elements that a job's outputs are told as lists of, all together: some 50 ms of work. */
const MAX_LISTED_ELEMENTS = 65_536;

/** A job as HTTP clients see it. Times are ISO 8601 in UTC. */
export interface JobView {
  readonly id: string;
  readonly object: 'job';
  readonly state: JobState;
  readonly model: string;
  readonly class: JobClass;
  readonly createdAt: string;
  readonly expiresAt: string;
  readonly metadata: Metadata;
  readonly reservation: {
    readonly tokens: number;
    readonly inputTokens: number;
    readonly maxOutputTokens: number;
    /** What the held tokens cost, rounded up: an integer of nano-US-dollars in text; 0 when no price was known. */
    readonly amountNanoUsd: string;
  };
  /** The dead job that this one runs again, and how often that was done: 1 for the first replay. */
  readonly replay?: { readonly of: string; readonly epoch: number };
  /** The newest job that runs this one again. */
  readonly replayedAs?: string;
  readonly modelVersion?: string;
  readonly attempt?: number;
  readonly startedAt?: string;
  readonly finishedAt?: string;
  readonly usage?: Usage;
  /** What the job costs: an integer of nano-US-dollars in text, since it may exceed 2^53. */
  readonly amountNanoUsd?: string;
  readonly output?: OutputView;
  readonly error?: JobError;
}

export type OutputView =
  | { readonly task: 'embedding'; readonly dimensions: number; readonly embeddings: readonly (readonly number[])[] }
  | Extract<JobOutput, { task: 'text-classification' }>
  | { readonly task: 'tensors'; readonly outputs: readonly TensorView[] };

/** A tensor as clients get it. */
export interface TensorView {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  /** The elements row by row, or base64 of them: see `tensorViews`. */
  readonly data: readonly (number | boolean)[] | string;
}

/** What Redis keeps of a job besides its state: the submission without its text. */
export type SubmissionFacts = Omit<AcceptedMessage, 'input' | 'tenantId'>;

export function factsOf(message: AcceptedMessage): string {
  const { input: _input, tenantId: _tenantId, ...facts } = message;
  return JSON.stringify(facts satisfies SubmissionFacts);
}

export function readFacts(facts: string): SubmissionFacts {
  return JSON.parse(facts) as SubmissionFacts;
}

/** The view of a job that has not ended, from what Redis knows of it. */
export function openJob(facts: SubmissionFacts, state: 'queued' | 'running'): JobView {
  return submitted(facts, state);
}

export function jobFromRecord(record: JobRecord): JobView {
  return {
    ...submitted(record, record.state),
    ...(record.replayedAs !== undefined && { replayedAs: record.replayedAs }),
    ...(record.modelVersion !== undefined && { modelVersion: record.modelVersion }),
    ...(record.attempt !== undefined && { attempt: record.attempt }),
    ...(record.startedAtMs !== undefined && { startedAt: iso(record.startedAtMs) }),
    ...(record.finishedAtMs !== undefined && { finishedAt: iso(record.finishedAtMs) }),
    ...(record.usage && { usage: record.usage }),
    ...(record.amountNanoUsd !== undefined && { amountNanoUsd: record.amountNanoUsd.toString() }),
    ...(record.output && { output: outputView(record.output) }),
    ...(record.error && { error: record.error }),
  };
}

interface Submitted {
  readonly jobId: string;
  readonly model: string;
  readonly class: JobClass;
  readonly inputTokens: number;
  readonly maxOutputTokens: number;
  readonly reservedTokens: number;
  readonly reservedNanoUsd?: number | undefined;
  readonly replay?: { readonly of: string; readonly epoch: number } | undefined;
  readonly expiresAtMs: number;
  readonly metadata?: Metadata | undefined;
}

function submitted(job: Submitted, state: JobState): JobView {
  return {
    id: job.jobId,
    object: 'job',
    state,
    model: job.model,
    class: job.class,
    createdAt: iso(acceptedAtMs(job)),
    expiresAt: iso(job.expiresAtMs),
    metadata: job.metadata ?? {},
    reservation: {
      tokens: job.reservedTokens,
      inputTokens: job.inputTokens,
      maxOutputTokens: job.maxOutputTokens,
      amountNanoUsd: String(job.reservedNanoUsd ?? 0),
    },
    ...(job.replay && { replay: job.replay }),
  };
}

function iso(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

function outputView(output: JobOutput): OutputView {
  switch (output.task) {
    case 'embedding':
      return { ...output, embeddings: output.embeddings.map(decodeEmbedding) };
    case 'text-classification':
      return output;
    case 'tensors':
      return {
        task: output.task,
        outputs: output.encoding === 'base64' ? output.outputs : tensorViews(output.outputs),
      };
    default:
      return output satisfies never;
  }
}

/**
 * Lists where those were asked for, but base64 for a tensor that JSON has no exact numbers for (not finite, or beyond 2^53), and
 * for one whose list, after those of the outputs before it, would keep others waiting.
 */
function tensorViews(tensors: readonly TensorMessage[]): readonly TensorView[] {
  let left = MAX_LISTED_ELEMENTS;
  return tensors.map((tensor) => {
    const { datatype, shape, data } = tensor;
    const count = elementsOf(shape);
    if (count > left) return tensor;
    left -= count;
    return { ...tensor, data: jsonElements(datatype, shape, data) ?? data };
  });
}

/** base64 of little-endian float32 → numbers with the digits a float32 carries. */
export function decodeEmbedding(base64: string): number[] {
  const bytes = Buffer.from(base64, 'base64');
  return Array.from({ length: bytes.length / 4 }, (_, index) => Number(bytes.readFloatLE(index * 4).toPrecision(9)));
}
