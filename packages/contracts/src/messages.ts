import { z } from 'zod';
import { MAX_BUDGET_USD } from './config.js';
import { isJobId, isUuid, jobIdTimeMs } from './ids.js';
import {
  JOB_CLASSES,
  jobErrorSchema,
  jobInputSchema,
  jobOutputSchema,
  MAX_TOKENS_PER_JOB,
  metadataSchema,
  TERMINAL_STATES,
  usageSchema,
} from './jobs.js';
import { nameSchema, tenantIdSchema } from './names.js';

/** AMQP `type` property of each message. The suffix grows when a change would break a reader. */
export const MESSAGE_TYPES = {
  accepted: 'job.accepted.v1',
  completed: 'job.completed.v1',
  /** Jobs that a worker has been running for a while; see `startedMessageSchema`. */
  started: 'jobs.started.v1',
  /** To every worker: a job is not wanted any more. */
  cancel: 'job.cancel.v1',
  /** A worker's answer to that; see `holdingMessageSchema`. */
  holding: 'job.holding.v1',
  /** To every worker: what time it is; see `clockMessageSchema`. */
  clock: 'clock.v1',
  /** Follows facts through the queue `results`, to prove that they have been recorded; see decisions/0007. */
  marker: 'fence.marker.v1',
} as const;

/**
 * AMQP headers of Sluice's own. `attempt` counts from 1 and grows with every retry (the broker's own counters differ
 * between versions); `retryReason` says why the attempt before was given up, where that is known, `reason` and `source` why a message is
 * in the dead queue and where it was.
 */
export const HEADERS = {
  attempt: 'x-attempt',
  retryReason: 'x-retry-reason',
  reason: 'x-dead-reason',
  source: 'x-dead-source',
} as const;

const epochMs = z.int().min(0).max(8_640_000_000_000_000);
/** Nano-USD as a number: holds stay below 2^53. */
const nanoUsdCount = z
  .int()
  .min(0)
  .max(MAX_BUDGET_USD * 1e9);
const jobId = z.string().refine(isJobId, 'must be a UUIDv7 in lower case');

/** Whose job it is and what it is billed as; carried by every message so that each can be recorded by itself. */
const accounting = {
  jobId,
  tenantId: tenantIdSchema,
  apiKeyId: z.string().refine(isUuid, 'must be a UUID'),
  model: nameSchema,
  class: z.enum(JOB_CLASSES),
};

/** What a job asked for, beside its input. */
const asked = {
  /** Exact number of tokens of the input by the model's own tokenizer. */
  inputTokens: z.int().min(0).max(MAX_TOKENS_PER_JOB),
  maxOutputTokens: z.int().min(0).max(MAX_TOKENS_PER_JOB),
  /** After this a worker no longer starts the job (Unix milliseconds). */
  expiresAtMs: epochMs,
  metadata: metadataSchema.optional(),
  /** Of the Idempotency-Key; recorded, so that a repeated request is known even after Redis was lost. */
  idempotency: z
    .strictObject({ keyHash: z.string().min(1).max(64), fingerprint: z.string().min(1).max(64) })
    .optional(),
  /** The dead job that this one runs again, and how often that was done: 1 for the first replay. */
  replay: z.strictObject({ of: jobId, epoch: z.int().min(1).max(1000) }).optional(),
};
const askedSchema = z.strictObject(asked);
export type AskedFacts = z.infer<typeof askedSchema>;

/**
 * `job.accepted.v1`: one message that is both the work for a pool and, routed to `results` as well, the fact that
 * the tenant's tokens are held. One publish with one confirm: once it is confirmed both exist.
 */
export const acceptedMessageSchema = z.strictObject({
  ...accounting,
  input: jobInputSchema,
  ...asked,
  /** The hold: inputTokens + maxOutputTokens, or less where the tenant's estimates are learned. */
  reservedTokens: z.int().min(0).max(MAX_TOKENS_PER_JOB),
  /** What the held tokens cost at the prices in force, rounded up; absent when the gateway did not know the prices yet. */
  reservedNanoUsd: nanoUsdCount.optional(),
});
export type AcceptedMessage = z.infer<typeof acceptedMessageSchema>;

/** `job.completed.v1`: the one terminal fact of a job. The first to be recorded wins, any later one changes nothing. */
export const completedMessageSchema = z.strictObject({
  ...accounting,
  state: z.enum(TERMINAL_STATES),
  usage: usageSchema,
  /** What was held for the job, where that is known: what it used beyond is its overage. */
  reservedTokens: z.int().min(0).max(MAX_TOKENS_PER_JOB).optional(),
  reservedNanoUsd: nanoUsdCount.optional(),
  /**
   * The rest of the job's `job.accepted.v1`, but for the input. A broker that dies while it takes a publish without having
   * confirmed it may keep the work and lose the fact; the end of that work then brings it along. Absent where the sender does not know it.
   */
  accepted: askedSchema.optional(),
  /** Version of the model that ran; absent when none ran. */
  modelVersion: z.string().min(1).max(63).optional(),
  output: jobOutputSchema.optional(),
  error: jobErrorSchema.optional(),
  /** Which attempt ended the job, from 1. */
  attempt: z.int().min(1).max(1000),
  /**
   * When inference began and the attempt ended, as its worker knows the time of Redis (Unix milliseconds); for people,
   * never for billing. `finishedAtMs` is not before `startedAtMs`.
   */
  startedAtMs: epochMs.optional(),
  finishedAtMs: epochMs,
});
export type CompletedMessage = z.infer<typeof completedMessageSchema>;

/**
 * `jobs.started.v1`: jobs that are running at a worker and were still running a moment after they began; very short jobs
 * are never reported. Advisory: it makes a job `running` where it is looked up, and nothing else.
 */
export const startedMessageSchema = z.strictObject({
  jobs: z
    .array(z.strictObject({ jobId, tenantId: tenantIdSchema }))
    .min(1)
    .max(1000),
  startedAtMs: epochMs,
});
export type StartedMessage = z.infer<typeof startedMessageSchema>;

/**
 * `job.cancel.v1`: stop this job if it runs, and do not begin it if it does not. A worker that has the job in hand says so
 * at once to the queue that the message names in `reply-to`; the others are silent.
 */
export const cancelMessageSchema = z.strictObject({
  jobId,
  tenantId: tenantIdSchema,
  /** The job's deadline: after it nobody needs to remember the request (Unix milliseconds). */
  expiresAtMs: epochMs,
});
export type CancelMessage = z.infer<typeof cancelMessageSchema>;

/**
 * `job.holding.v1`: the job is in this worker's hands, so its end is the worker's to tell. `waiting`: nothing of it has
 * run in this attempt; `running`: something has, and will be billed.
 */
export const holdingMessageSchema = z.strictObject({ jobId, holding: z.enum(['waiting', 'running']) });
export type HoldingMessage = z.infer<typeof holdingMessageSchema>;

/**
 * `clock.v1`: what the clock of Redis showed a moment ago. Deadlines are told by that clock, and workers cannot ask it;
 * see decisions/0011.
 */
export const clockMessageSchema = z.strictObject({ redisNowMs: epochMs });
export type ClockMessage = z.infer<typeof clockMessageSchema>;

/** `fence.marker.v1`; `replyTo` is the queue that wants to know that the marker was received. */
export const markerMessageSchema = z.strictObject({
  fenceId: z.string().min(1).max(64),
  replyTo: z.string().min(1).max(255),
});
export type MarkerMessage = z.infer<typeof markerMessageSchema>;

/** What a completed message brings along of its job's accepted one; see there. */
export function askedOf(message: AskedFacts): AskedFacts {
  const { inputTokens, maxOutputTokens, expiresAtMs, metadata, idempotency, replay } = message;
  return {
    inputTokens,
    maxOutputTokens,
    expiresAtMs,
    ...(metadata && { metadata }),
    ...(idempotency && { idempotency }),
    ...(replay && { replay }),
  };
}

/** The accepted message that a completed one brings along, without the input; undefined when it does not. */
export function acceptedBy(message: CompletedMessage): Omit<AcceptedMessage, 'input'> | undefined {
  const { accepted, jobId: id, tenantId, apiKeyId, model, reservedTokens, reservedNanoUsd } = message;
  if (!accepted || reservedTokens === undefined) return undefined;
  return {
    jobId: id,
    tenantId,
    apiKeyId,
    model,
    class: message.class,
    reservedTokens,
    ...accepted,
    ...(reservedNanoUsd !== undefined && { reservedNanoUsd }),
  };
}

/** When a job was accepted, in Unix milliseconds: a function of its id. */
export function acceptedAtMs(message: { readonly jobId: string }): number {
  return jobIdTimeMs(message.jobId);
}
