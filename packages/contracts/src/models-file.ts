import { z } from 'zod';
import { entriesOf, EVEN_WITH_ISSUES, fieldOf, isFields, quoted, recordOf } from './forms.js';
import { JOB_CLASSES, MAX_TOKENS_PER_JOB, TASKS, TEXT_TASKS } from './jobs.js';
import { nameSchema } from './names.js';
import { DATATYPES, MAX_AXES, MAX_AXIS, tensorNameSchema } from './tensors.js';

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

const VERSION = 'must be a whole number in quotes, or latest';
/** A version folder of the model repository; `latest` is the greatest one that can be used. */
const versionSchema = quoted(VERSION).regex(/^(?:[0-9]{1,9}|latest)$/, VERSION);

const percentSchema = z.number().min(0).max(100);

/** What decides, so that the same tenant, API key or job always goes the same way. */
const stickyBySchema = z.enum(['tenant', 'apiKey', 'job']).default('tenant');

/** A part of the work goes to another version; its results count. */
const canarySchema = z.strictObject({
  version: versionSchema,
  /** Share of the keys that get this version, 0 … 100. Raising it only moves keys towards this version. */
  percent: percentSchema,
  stickyBy: stickyBySchema,
});
export type CanaryPolicy = z.infer<typeof canarySchema>;

/**
 * A part of the jobs that the main version answered also runs on another version, later, to compare; what comes of that is never
 * a result and never billed.
 */
const shadowSchema = z.strictObject({
  version: versionSchema,
  /** Share of the keys whose jobs are compared, 0 … 100. Those of a canary are others. */
  percent: percentSchema,
  stickyBy: stickyBySchema,
  /** Greatest absolute difference of an output number with which versions still agree. */
  tolerance: z.number().min(0),
});
export type ShadowPolicy = z.infer<typeof shadowSchema>;

const modelEntrySchema = z.strictObject({
  pool: nameSchema,
  /** Folder of the model repository; the public name when absent. */
  repository: nameSchema.optional(),
  version: versionSchema,
  canary: canarySchema.optional(),
  shadow: shadowSchema.optional(),
  batching: batchingSchema.optional(),
  description: z.string().max(200).optional(),
});
/** A public model. */
export type ModelEntry = z.infer<typeof modelEntrySchema>;

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
    models: recordOf(nameSchema, modelEntrySchema),
  })
  .superRefine((file, context) => {
    for (const [name, model] of entriesOf(file.models)) {
      const refuse = (path: readonly string[], message: string): void =>
        context.addIssue({ code: 'custom', path: ['models', name, ...path], message });
      const pool = fieldOf(model, 'pool');
      if (typeof pool === 'string' && isFields(file.pools) && !Object.hasOwn(file.pools, pool)) {
        refuse(['pool'], `no pool "${pool}" exists`);
      }
      for (const other of ['canary', 'shadow']) {
        const version = fieldOf(fieldOf(model, other), 'version');
        if (version === undefined || version !== fieldOf(model, 'version')) continue;
        refuse([other, 'version'], 'must be another version than the model has');
      }
    }
  }, EVEN_WITH_ISSUES);
export type ModelsFile = z.infer<typeof modelsFileSchema>;

/** Of `config/models.yaml` only which models there are: what other files are compared with when more is wrong with it. */
export const modelNamesSchema = z.object({ models: z.record(z.string(), z.unknown()) });
export type ModelNames = z.infer<typeof modelNamesSchema>;

/** What `model.yaml` says of every model. */
const aboutModel = { name: nameSchema, description: z.string(), licence: z.string(), source: z.string() };

/** `model.yaml` of a model of texts. */
export const textModelFileSchema = z.strictObject({
  ...aboutModel,
  task: z.enum(TEXT_TASKS),
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
   * How the model turns its activations into integers. `none`: not at all. `static`: by scales that are part of the file.
   * `dynamic`: by scales that each run takes from its whole tensor, so a text's result would depend on its neighbours and on
   * padding: such a model runs every text by itself, unpadded.
   */
  quantisation: z.enum(['none', 'dynamic', 'static']),
  inputs: z.strictObject({ inputIds: tensorNameSchema, attentionMask: tensorNameSchema }),
  output: z.strictObject({
    name: tensorNameSchema,
    /** Length of a row of the output, float32 `[batch, dimensions]`. */
    dimensions: z.int().positive(),
  }),
  /** Class names in the order of the output's columns; for `text-classification`. */
  labels: z.array(z.string()).optional(),
});
export type TextModelFile = z.infer<typeof textModelFileSchema>;

const AXIS = 'must be a whole number from 1 to 2^31 − 1, or -1 for an axis of any length';

/** An input or output of a model of tensors; names of the fields as in the Open Inference Protocol v2. */
const tensorSpecSchema = z.strictObject({
  /** As the ONNX file has it. */
  name: tensorNameSchema,
  datatype: z.enum(DATATYPES),
  /** Lengths of the axes, outermost first; -1: any length, which the tensors of a job say. None: a scalar. */
  shape: z
    .array(z.number().refine((axis) => axis === -1 || (Number.isInteger(axis) && axis >= 1 && axis <= MAX_AXIS), AXIS))
    .max(MAX_AXES),
});
export type TensorSpec = z.infer<typeof tensorSpecSchema>;

const tensorSpecs = z
  .array(tensorSpecSchema)
  .min(1)
  .max(64)
  .refine((specs) => new Set(specs.map(({ name }) => name)).size === specs.length, 'has a name twice');

/** `model.yaml` of a model that takes tensors and gives tensors, whatever it does with them. */
export const tensorModelFileSchema = z
  .strictObject({
    ...aboutModel,
    task: z.literal('tensors'),
    precision: z.enum(['fp64', 'fp32', 'fp16', 'int8']),
    /** Every input of the ONNX file. */
    inputs: tensorSpecs,
    /** Those outputs of the ONNX file that jobs get; others are not computed. */
    outputs: tensorSpecs,
    /** How many elements count as one token. A job has as many input tokens as that goes into its elements, rounded up. */
    elementsPerToken: z.int().min(1).max(MAX_AXIS).default(1),
    /** Most tokens of the inputs of a job together. */
    maxInputTokens: z.int().positive(),
    /** Most tokens of the outputs of a job together, counted alike; 0: outputs are neither counted nor billed. */
    maxOutputTokens: z.int().min(0).default(0),
  })
  .refine(({ maxInputTokens, maxOutputTokens }) => maxInputTokens + maxOutputTokens <= MAX_TOKENS_PER_JOB, {
    path: ['maxOutputTokens'],
    error: `and maxInputTokens must come to at most ${MAX_TOKENS_PER_JOB} together`,
  });
export type TensorModelFile = z.infer<typeof tensorModelFileSchema>;

/** `model.yaml` of a version folder in the model repository: what the files are and how to use them. */
export const modelFileSchema = z.discriminatedUnion('task', [textModelFileSchema, tensorModelFileSchema], {
  error: ({ code }) => (code === 'invalid_union' ? `must be one of ${TASKS.join(', ')}` : undefined),
});
export type ModelFile = z.infer<typeof modelFileSchema>;

/** `digests.json` of a version folder: what its other files were when they were written. */
export const digestsFileSchema = z.strictObject({
  /** Identifies what the builder made the files from; absent where somebody else wrote them. */
  stamp: z.string().optional(),
  /** SHA-256 by the name of a file in the folder. */
  files: recordOf(
    z.string().regex(/^[^/\\]+$/, 'must be the name of a file in the folder'),
    z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in lower-case hexadecimal'),
  ),
});
export type DigestsFile = z.infer<typeof digestsFileSchema>;

/** Whether texts may share a run of the model: not if what one of them gives would depend on the others. Tensors never do. */
export function isBatchable(file: ModelFile): boolean {
  return file.task !== 'tensors' && file.quantisation !== 'dynamic';
}
