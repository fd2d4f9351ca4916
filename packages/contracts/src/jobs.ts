import { z } from 'zod';
import { OUTPUT_ENCODINGS, tensorInputSchema, tensorSchema, type TensorInput } from './tensors.js';

/** `queued → running → succeeded | failed | canceled | expired`; the last four are final. */
export const JOB_STATES = ['queued', 'running', 'succeeded', 'failed', 'canceled', 'expired'] as const;
export type JobState = (typeof JOB_STATES)[number];

export const TERMINAL_STATES = ['succeeded', 'failed', 'canceled', 'expired'] as const satisfies readonly JobState[];
export type TerminalState = (typeof TERMINAL_STATES)[number];

export function isTerminal(state: JobState): state is TerminalState {
  return (TERMINAL_STATES as readonly JobState[]).includes(state);
}

/** How urgent a job is. Each class has its own queue, so urgent work never waits behind bulk work. */
export const JOB_CLASSES = ['interactive', 'standard', 'batch'] as const;
export type JobClass = (typeof JOB_CLASSES)[number];

/** What models do with texts. */
export const TEXT_TASKS = ['embedding', 'text-classification'] as const;
export type TextTask = (typeof TEXT_TASKS)[number];

/** What a model does with its input: something with texts, or whatever its file does with tensors. */
export const TASKS = [...TEXT_TASKS, 'tensors'] as const;
export type Task = (typeof TASKS)[number];

/** The largest count of anything that is metered in one job; far below 2^53, so sums of many stay exact. */
export const MAX_TOKENS_PER_JOB = 100_000_000;

const count = z.int().min(0).max(MAX_TOKENS_PER_JOB);

/** What a job really used. Padding is never counted. */
export const usageSchema = z.strictObject({
  inputTokens: count,
  outputTokens: count,
  /** The part of `inputTokens` that was served from a cache, 0 … inputTokens. */
  cachedTokens: count,
});
export type Usage = z.infer<typeof usageSchema>;

export const NO_USAGE: Usage = Object.freeze({ inputTokens: 0, outputTokens: 0, cachedTokens: 0 });

/** What a job is metered by: the sum of input and output tokens. */
export function totalTokens(usage: Usage): number {
  return usage.inputTokens + usage.outputTokens;
}

/** One text, or several that are processed (and billed) as one job. */
export const textInputSchema = z.union([z.string(), z.array(z.string())]);
export type TextInput = z.infer<typeof textInputSchema>;

/** What a job is about: texts or tensors, as its model takes them. */
export const jobInputSchema = z.union([textInputSchema, tensorInputSchema]);
export type JobInput = z.infer<typeof jobInputSchema>;

export function isTensorInput(input: JobInput): input is TensorInput {
  return typeof input === 'object' && !Array.isArray(input);
}

/** The texts of an input, in order. */
export function inputTexts(input: TextInput): readonly string[] {
  return typeof input === 'string' ? [input] : input;
}

/** A label with its probability, 0 … 1. */
export const classLabelSchema = z.strictObject({ label: z.string(), score: z.number().min(0).max(1) });

/** What a model made of the input; of texts one element per text, in their order. */
export const jobOutputSchema = z.discriminatedUnion('task', [
  z.strictObject({
    task: z.literal('embedding'),
    dimensions: z.int().positive(),
    /** Each a base64 of float32 `[dimensions]`, little-endian: a quarter of the size of decimal text. */
    embeddings: z.array(z.base64()),
  }),
  z.strictObject({
    task: z.literal('text-classification'),
    /** For each text the most probable labels, best first. */
    classifications: z.array(z.array(classLabelSchema)),
  }),
  z.strictObject({
    task: z.literal('tensors'),
    /** As the client asked for them to be told. */
    encoding: z.enum(OUTPUT_ENCODINGS),
    /** In the order of `model.yaml`. */
    outputs: z.array(tensorSchema),
  }),
]);
export type JobOutput = z.infer<typeof jobOutputSchema>;

/** Why a job did not succeed; `code` is a key of the error table where the suite knows the reason. */
export const jobErrorSchema = z.strictObject({ code: z.string().min(1).max(64), detail: z.string().max(2000) });
export type JobError = z.infer<typeof jobErrorSchema>;

const labelName = z
  .string()
  .min(1)
  .max(64)
  .regex(/^[\w.:/-]+$/, 'may hold letters, digits and _ . : / - only');

function labelsWith(numbers: z.ZodNumber) {
  const values = z.union([z.string().max(512), numbers, z.boolean()], 'must be a string, a number or a boolean');
  return (
    z
      // n.b. zod drops a key "__proto__" from a record without a word; it is refused instead.
      .unknown()
      .refine((value) => !Object.hasOwn(Object(value) as object, '__proto__'), 'has the reserved name __proto__')
      .pipe(
        z
          .record(labelName, values)
          .refine((entries) => Object.keys(entries).length <= 16, 'holds more than 16 entries'),
      )
  );
}

/** Labels of the caller's own: at most 16, string to string, number or boolean. Never interpreted. */
export const metadataSchema = labelsWith(z.number());
export type Metadata = z.infer<typeof metadataSchema>;

const INEXACT = 'is a number beyond 2^53, which JSON does not keep exactly: send it as a string';
/**
 * Metadata of a submission. JSON.parse has changed greater numbers without a word. Jobs that were accepted with such may
 * still be in a queue, so they are refused here only.
 */
export const newMetadataSchema = labelsWith(
  z.number().min(Number.MIN_SAFE_INTEGER, INEXACT).max(Number.MAX_SAFE_INTEGER, INEXACT),
);
