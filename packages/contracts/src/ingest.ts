import { z } from 'zod';
import { ERRORS, type ErrorCode } from './errors.js';
import {
  classLabelSchema,
  JOB_CLASSES,
  JOB_STATES,
  jobErrorSchema,
  MAX_TOKENS_PER_JOB,
  metadataSchema,
  newMetadataSchema,
  TASKS,
  textInputSchema,
  usageSchema,
} from './jobs.js';
import { nameSchema } from './names.js';
import { DATATYPES, MAX_AXES, MAX_AXIS, OUTPUT_ENCODINGS, tensorNameSchema } from './tensors.js';
import { QUEUES } from './topology.js';

/** AMQP `type` property of what a producer sends to the exchange `ingest` and of the answers it gets. */
export const INGEST_TYPES = {
  /** May be absent; a message of another type is refused. */
  submit: 'job.submit.v1',
  accepted: 'job.accepted.reply.v1',
  refused: 'job.refused.reply.v1',
} as const;

export const CONTENT_TYPES = { json: 'application/json', problem: 'application/problem+json' } as const;

/** The message id of a submission: it makes the submission idempotent within its tenant. */
export const MESSAGE_ID = /^[\x21-\x7e]{1,255}$/;

/** A tensor as clients send it and get it, as in the Open Inference Protocol v2. */
function tensorViewOf(data: string) {
  return z.strictObject({
    name: tensorNameSchema,
    datatype: z.enum(DATATYPES),
    shape: z.array(z.int().min(0).max(MAX_AXIS)).max(MAX_AXES),
    data: z.union([z.string(), z.array(z.unknown())]).describe(data),
  });
}

const submittedTensorSchema = tensorViewOf(
  'Numbers (true and false for BOOL) as one list, row by row, or as lists within lists; or base64 of the elements, row by row and little-endian.',
);
const outputTensorSchema = tensorViewOf(
  'Numbers (true and false for BOOL) as one list, row by row; or base64 of the elements, row by row and little-endian, where that was asked for, where JSON has no numbers for them, and where the outputs up to this one have more than 65,536 elements.',
);

const submissionFields = z.strictObject({
  /** Public name of a model; `GET /v1/models` lists them. */
  model: nameSchema,
  input: textInputSchema
    .optional()
    .describe('For a model of texts: one text, or several that are processed and billed as one job.'),
  inputs: z.array(submittedTensorSchema).min(1).max(64).optional().describe('For a model of tensors: all its inputs.'),
  outputEncoding: z
    .enum(OUTPUT_ENCODINGS)
    .optional()
    .describe('With inputs: how the tensors of the result are told; json when absent.'),
  maxOutputTokens: z
    .int()
    .min(0)
    .max(MAX_TOKENS_PER_JOB)
    .optional()
    .describe("Cap on the output tokens of each text, or of all tensors; the model's own cap when absent."),
  class: z.enum(JOB_CLASSES).optional().describe('How urgent the job is; standard when absent.'),
  metadata: newMetadataSchema.optional().describe("Labels of the caller's own, at most 16; never interpreted."),
  expiresIn: z.int().min(1).optional().describe('Seconds within which the job must begin; it is not run after that.'),
});
/** What a producer submits: the body of `POST /v1/jobs`. The gateway's own check adds limits of its configuration. */
export const submitMessageSchema = submissionFields
  .refine(({ input, inputs }) => (input === undefined) !== (inputs === undefined), 'has either input or inputs')
  .refine(({ inputs, outputEncoding }) => inputs !== undefined || outputEncoding === undefined, {
    path: ['outputEncoding'],
    message: 'may stand with inputs only',
  })
  .meta({ oneOf: [{ required: ['input'] }, { required: ['inputs'] }] });
export type SubmitMessage = z.infer<typeof submitMessageSchema>;

const outputSchema = z.union([
  z.looseObject({ task: z.literal(TASKS[0]), dimensions: z.int(), embeddings: z.array(z.array(z.number())) }),
  z.looseObject({ task: z.literal(TASKS[1]), classifications: z.array(z.array(classLabelSchema)) }),
  z.looseObject({ task: z.literal(TASKS[2]), outputs: z.array(outputTensorSchema) }),
]);

/** A job as it is told to clients, over HTTP and to producers. Members may be added; ignore those you do not know. */
export const jobViewSchema = z.looseObject({
  id: z.string().describe('UUIDv7; the time in it is when the job was accepted.'),
  object: z.literal('job'),
  state: z.enum(JOB_STATES),
  model: nameSchema,
  class: z.enum(JOB_CLASSES),
  createdAt: z.iso.datetime(),
  expiresAt: z.iso.datetime(),
  metadata: metadataSchema,
  reservation: z
    .looseObject({
      tokens: z.int(),
      inputTokens: z.int(),
      maxOutputTokens: z.int(),
      amountNanoUsd: z.string().describe('What the held tokens cost, rounded up.'),
    })
    .describe('What is held for the job until it has ended.'),
  replay: z
    .looseObject({ of: z.string(), epoch: z.int() })
    .optional()
    .describe('The dead job that this one runs again, and which replay of it this is.'),
  replayedAs: z.string().optional().describe('The newest job that runs this one again.'),
  modelVersion: z.string().optional(),
  attempt: z.int().optional(),
  startedAt: z.iso.datetime().optional(),
  finishedAt: z.iso.datetime().optional(),
  usage: usageSchema.optional(),
  amountNanoUsd: z.string().optional().describe('What the job costs: an integer of nano-US-dollars in text.'),
  output: outputSchema.optional(),
  error: jobErrorSchema.optional(),
});

/** A problem document (RFC 9457) as a producer gets it. Members may be added; ignore those you do not know. */
export const problemSchema = z.looseObject({
  type: z.string().describe('urn:sluice:error:<code>'),
  title: z.string(),
  status: z.int().min(400).max(599).describe('The HTTP status that the same refusal has there.'),
  detail: z.string(),
  code: z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]),
  retryable: z.boolean().describe('Whether the same submission may succeed later without a change.'),
  errors: z.array(z.strictObject({ field: z.string(), reason: z.string() })).optional(),
  retryAfterSeconds: z.int().optional().describe('When to try again.'),
});

const RESERVED_QUEUES: ReadonlySet<string> = new Set(Object.values(QUEUES));

/**
 * Whether a queue's name is one of the suite's own. Nothing that a producer names as its `reply_to` may lead there: the
 * gateway's broker user may write to queues that the producer's may not.
 */
export function isReservedQueue(name: string): boolean {
  return RESERVED_QUEUES.has(name) || /^(work|retry|fence|inbox)\./.test(name);
}
