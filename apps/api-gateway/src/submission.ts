import { createHash } from 'node:crypto';
import {
  JOB_CLASSES,
  MAX_TOKENS_PER_JOB,
  newMetadataSchema,
  OUTPUT_ENCODINGS,
  type JobInput,
  type TextInput,
} from '@sluice/contracts';
import { z } from 'zod';
import { invalidRequest, validate } from './field-errors.js';
import { parseTensors } from './tensor-submission.js';

/** What `isStorable` refuses. */
export const UNSTORABLE = 'holds a NUL character or half of a surrogate pair';

const text = z
  .string('must be a string or an array of strings')
  .min(1, 'must not be empty')
  .refine((value) => value.isWellFormed(), 'holds half of a surrogate pair, which is not Unicode text');

// n.b. zod compiles a schema when it is first used, so none is made per request.
const oneText = z.object({ input: text });
const severalTexts = z.object({ input: z.array(text) });

/** What a submission may ask for at most. */
export interface SubmissionBounds {
  readonly maxTexts: number;
  /** Most bytes of all tensors in base64, as the job carries them. */
  readonly maxTensorBytes: number;
  /** The longest time until a job's deadline, and the default. */
  readonly jobTtlMs: number;
}

/** Body of `POST /v1/jobs`. Nothing is coerced and nothing unknown is ignored. */
const submissionSchema = z.strictObject({
  model: z.string().min(1).max(63),
  input: z.unknown().optional(),
  inputs: z.unknown().optional(),
  outputEncoding: z.enum(OUTPUT_ENCODINGS).optional(),
  maxOutputTokens: z.int().min(0).max(MAX_TOKENS_PER_JOB).optional(),
  class: z.enum(JOB_CLASSES).default('standard'),
  /** Seconds until the job is no longer worth running. */
  expiresIn: z.int().min(1).optional(),
  metadata: newMetadataSchema.refine((entries) => Object.values(entries).every(isStorable), UNSTORABLE).optional(),
});

type Body = z.output<typeof submissionSchema>;
export type Submission = Omit<Body, 'input' | 'inputs' | 'outputEncoding'> & { readonly input: JobInput };

/**
 * Checks the body of a submission.
 *
 * @throws ServiceError `invalid_request`, naming each wrong field.
 */
export function parseSubmission(body: unknown, bounds: SubmissionBounds): Submission {
  const { input, inputs, outputEncoding, ...submission } = validate(submissionSchema, body);
  const { jobTtlMs } = bounds;
  const longest = Math.floor(jobTtlMs / 1000);
  if (submission.expiresIn !== undefined && submission.expiresIn > longest) {
    throw invalidRequest([{ field: 'expiresIn', reason: `must be at most ${longest} seconds` }]);
  }
  return Object.assign(submission, { input: parseInput({ input, inputs, outputEncoding }, bounds) });
}

function parseInput(
  { input, inputs, outputEncoding }: Pick<Body, 'input' | 'inputs' | 'outputEncoding'>,
  { maxTexts, maxTensorBytes }: SubmissionBounds,
): JobInput {
  if (inputs !== undefined) {
    if (input !== undefined) throw invalidRequest([{ field: 'inputs', reason: 'must be absent where there is input' }]);
    return parseTensors(inputs, outputEncoding ?? 'json', maxTensorBytes);
  }
  if (input === undefined) throw invalidRequest([{ field: 'input', reason: 'is required, or inputs for tensors' }]);
  if (outputEncoding !== undefined) {
    throw invalidRequest([{ field: 'outputEncoding', reason: 'must be absent where there are no inputs' }]);
  }
  return parseTexts(input, maxTexts);
}

function parseTexts(input: unknown, maxTexts: number): TextInput {
  if (!Array.isArray(input)) return validate(oneText, { input }).input;
  if (input.length === 0) throw invalidRequest([{ field: 'input', reason: 'must not be empty' }]);
  if (input.length > maxTexts) {
    throw invalidRequest([{ field: 'input', reason: `holds ${input.length} texts, at most ${maxTexts} are allowed` }]);
  }
  return validate(severalTexts, { input }).input;
}

/** PostgreSQL's text and jsonb hold neither NUL nor lone surrogates. */
export function isStorable(value: unknown): boolean {
  return typeof value !== 'string' || (value.isWellFormed() && !value.includes('\0'));
}

/** Two submissions with the same fingerprint ask for the same thing. SHA-256, base64url. */
export function fingerprint(submission: Submission): string {
  const { model, input, maxOutputTokens, metadata, expiresIn } = submission;
  const entries = metadata && Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
  const parts = [model, input, maxOutputTokens ?? null, submission.class, entries ?? null];
  // n.b. appended only where it is asked for, so that keys of requests from before it existed keep their fingerprint.
  return sha256(JSON.stringify(expiresIn === undefined ? parts : [...parts, expiresIn]));
}

export function sha256(value: string): string {
  return createHash('sha256').update(value).digest('base64url');
}

const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;

/**
 * Reads the `Idempotency-Key` header, quoted (draft-ietf-httpapi-idempotency-key-header) or bare.
 *
 * @throws ServiceError `invalid_request` unless it is 1–255 visible ASCII characters.
 */
export function parseIdempotencyKey(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const bare = /^"(.*)"$/.exec(header)?.[1] ?? header;
  if (IDEMPOTENCY_KEY.test(bare)) return bare;
  throw invalidRequest([{ field: 'Idempotency-Key', reason: 'must be 1 to 255 visible ASCII characters' }]);
}
