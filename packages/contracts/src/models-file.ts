import { z } from 'zod';
import { entriesOf, EVEN_WITH_ISSUES, fieldOf, isFields, quoted, recordOf } from './forms.js';
import { JOB_CLASSES, TASKS } from './jobs.js';
import { nameSchema } from './names.js';

/** Bounds of a model's batches; the settings of the worker hold for what is absent. */
export const batchingSchema = z.strictObject({
  /** Most tokens of a batch, padding included. */
  maxBatchTokens: z.int().min(1).max(1_000_000).optional(),
  /** Most padding of a batch as a share of its tokens. */
  maxPaddingRatio: z.number().min(0).max(0.99).optional(),
  /** How long a text waits for company while a process is idle. */
  maxBatchDelayMs: z.number().min(0).max(10_000).optional(),
  /** Longest that several texts may be predicted to take together. */
  targetLatencyMs: z.number().positive().max(600_000).optional(),
});
export type Batching = z.infer<typeof batchingSchema>;

/** `config/models.yaml`: which models are public and which pool serves them. */
export const modelsFileSchema = z
  .strictObject({
    pools: recordOf(
      nameSchema,
      z.strictObject({
        /** Classes that have a queue in this pool. */
        classes: z
          .array(z.enum(JOB_CLASSES))
          .min(1)
          .default([...JOB_CLASSES]),
      }),
    ),
    models: recordOf(
      nameSchema,
      z.strictObject({
        pool: nameSchema,
        /** Folder of the model repository; the public name when absent. */
        repository: nameSchema.optional(),
        /** Version folder of the model repository. */
        version: quoted('must be a whole number in quotes').regex(/^[0-9]+$/, 'must be a whole number in quotes'),
        description: z.string().max(200).optional(),
        batching: batchingSchema.optional(),
      }),
    ),
  })
  .superRefine((file, context) => {
    for (const [name, model] of entriesOf(file.models)) {
      const pool = fieldOf(model, 'pool');
      if (typeof pool !== 'string' || !isFields(file.pools) || Object.hasOwn(file.pools, pool)) continue;
      context.addIssue({ code: 'custom', path: ['models', name, 'pool'], message: `no pool "${pool}" exists` });
    }
  }, EVEN_WITH_ISSUES);
export type ModelsFile = z.infer<typeof modelsFileSchema>;

/** Of `config/models.yaml` only which models there are: what other files are compared with when more is wrong with it. */
export const modelNamesSchema = z.object({ models: z.record(z.string(), z.unknown()) });
export type ModelNames = z.infer<typeof modelNamesSchema>;

const tensorName = z.string().min(1);

/** `model.yaml` of a version folder in the model repository: what the files are and how to use them. */
export const modelFileSchema = z.strictObject({
  name: nameSchema,
  task: z.enum(TASKS),
  description: z.string(),
  licence: z.string(),
  source: z.string(),
  precision: z.enum(['fp32', 'int8']),
  tokenizer: z.discriminatedUnion('type', [
    /** SentencePiece unigram; `vocabulary` is a JSON file of `[piece, logProbability | null][]`. */
    z.strictObject({ type: z.literal('unigram'), vocabulary: z.string(), reserved: z.int().min(0) }),
    /** One token per UTF-8 byte. */
    z.strictObject({ type: z.literal('bytes') }),
  ]),
  /** Longest text the model takes, in its own tokens. */
  maxInputTokens: z.int().positive(),
  /** Most tokens the model can produce for a text; 0 for models that produce none. */
  maxOutputTokens: z.int().min(0).default(0),
  /**
   * Whether texts may share a run. False for dynamic int8 models: their activations are quantised over the whole
   * tensor, so a text's result would depend on its neighbours and on padding.
   */
  batchable: z.boolean(),
  inputs: z.strictObject({ inputIds: tensorName, attentionMask: tensorName }),
  output: z.strictObject({
    name: tensorName,
    /** Length of a row of the output, float32 `[batch, dimensions]`. */
    dimensions: z.int().positive(),
  }),
  /** Class names in the order of the output's columns; for `text-classification`. */
  labels: z.array(z.string()).optional(),
});
export type ModelFile = z.infer<typeof modelFileSchema>;
