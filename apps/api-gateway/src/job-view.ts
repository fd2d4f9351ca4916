import {
  acceptedAtMs,
  type AcceptedMessage,
  type JobClass,
  type JobError,
  type JobOutput,
  type JobState,
  type Metadata,
  type Usage,
} from '@sluice/contracts';
import type { JobRecord } from '@sluice/store';

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
  | Extract<JobOutput, { task: 'text-classification' }>;

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
  if (output.task !== 'embedding') return output;
  return { ...output, embeddings: output.embeddings.map(decodeEmbedding) };
}

/** base64 of little-endian float32 → numbers with the digits a float32 carries. */
export function decodeEmbedding(base64: string): number[] {
  const bytes = Buffer.from(base64, 'base64');
  return Array.from({ length: bytes.length / 4 }, (_, index) => Number(bytes.readFloatLE(index * 4).toPrecision(9)));
}
