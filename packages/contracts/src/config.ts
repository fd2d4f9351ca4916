import { z } from 'zod';
import { JOB_CLASSES, TASKS } from './jobs.js';
import { nameSchema } from './names.js';

/** The largest rate limit: limit × window in milliseconds must stay an exact integer in Redis (2^53). */
export const MAX_TOKENS_PER_MINUTE = 100_000_000_000;
export const MAX_TOKENS_PER_MONTH = 9_000_000_000_000;

/** `config/models.yaml`: which models are public and which pool serves them. */
export const modelsFileSchema = z
  .strictObject({
    pools: z.record(
      nameSchema,
      z.strictObject({
        /** Classes that have a queue in this pool. */
        classes: z
          .array(z.enum(JOB_CLASSES))
          .min(1)
          .default([...JOB_CLASSES]),
      }),
    ),
    models: z.record(
      nameSchema,
      z.strictObject({
        pool: nameSchema,
        /** Folder of the model repository; the public name when absent. */
        repository: nameSchema.optional(),
        /** Version folder of the model repository. */
        version: z.string().regex(/^[0-9]+$/, 'must be a whole number in quotes'),
        description: z.string().max(200).optional(),
      }),
    ),
  })
  .superRefine((file, context) => {
    for (const [name, model] of Object.entries(file.models)) {
      if (!Object.hasOwn(file.pools, model.pool)) {
        context.addIssue({ code: 'custom', path: ['models', name, 'pool'], message: `no pool "${model.pool}" exists` });
      }
    }
  });
export type ModelsFile = z.infer<typeof modelsFileSchema>;

/** `config/plans.yaml`: what a tenant on a plan may use. */
export const plansFileSchema = z.strictObject({
  plans: z.record(
    nameSchema,
    z.strictObject({
      limits: z.strictObject({
        /** Token bucket: capacity, refilled in a minute. */
        tokensPerMinute: z.int().min(1).max(MAX_TOKENS_PER_MINUTE),
        /** Calendar month in the tenant's time zone. */
        tokensPerMonth: z.int().min(1).max(MAX_TOKENS_PER_MONTH),
      }),
    }),
  ),
});
export type PlansFile = z.infer<typeof plansFileSchema>;
export type PlanLimits = PlansFile['plans'][string]['limits'];

/** What is priced. `request` counts jobs, the others tokens. */
export const METERS = ['input', 'output', 'cached', 'request'] as const;
export type Meter = (typeof METERS)[number];

/** `config/prices.yaml`: effective-dated prices. A price that was in force is never changed, a newer one is added. */
export const pricesFileSchema = z.strictObject({
  prices: z.array(
    z.strictObject({
      model: nameSchema,
      meter: z.enum(METERS),
      /** US dollars for a million units, as a decimal string with at most 9 places, for example "0.02". */
      usdPerMillion: z.string().regex(/^\d{1,6}(\.\d{1,9})?$/, 'must be a decimal string such as "0.02"'),
      /** From when on, inclusive. */
      from: z.iso.datetime(),
    }),
  ),
});
export type PricesFile = z.infer<typeof pricesFileSchema>;
export type Price = PricesFile['prices'][number];

/** Nano-USD for a million units: the exact integer behind `usdPerMillion`. */
export function nanoUsdPerMillion(usdPerMillion: string): bigint {
  const [whole = '0', fraction = ''] = usdPerMillion.split('.');
  return BigInt(whole + fraction.padEnd(9, '0'));
}

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
