import { z } from 'zod';
import { JOB_CLASSES, TASKS } from './jobs.js';
import { nameSchema } from './names.js';

/** The largest rate: limit × window in milliseconds must stay an exact integer in Redis (2^53). */
export const MAX_PER_MINUTE = 100_000_000_000;
/** The largest quota, in tokens. */
export const MAX_TOKENS_PER_PERIOD = 9_000_000_000_000;
/** The largest budget: nano-USD are counted in Redis, where integers are exact below 2^53. */
export const MAX_BUDGET_USD = 9_000_000;

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

/** US dollars as a decimal string with at most 9 places, as quoted YAML keeps it exact: "0.02". */
const usd = z.string().regex(/^\d{1,7}(\.\d{1,9})?$/, 'must be a decimal string such as "0.02"');

/** Alerts of a quota and whether it refuses. */
const quotaOptions = {
  /** Percentages of the maximum; a soft quota is usually alerted on at 100. */
  alertAtPercent: z
    .array(z.int().min(1).max(1000))
    .max(10)
    .refine((list) => new Set(list).size === list.length, 'names a percentage twice')
    .transform((list) => [...list].sort((a, b) => a - b))
    .default([]),
  /** A soft quota refuses nothing: it is counted, shown and alerted on. */
  soft: z.boolean().default(false),
};

const tokenQuotaMax = z.int().min(1).max(MAX_TOKENS_PER_PERIOD);
const tokenQuota = z.union([tokenQuotaMax, z.strictObject({ max: tokenQuotaMax, ...quotaOptions })]);

const budgetMax = usd
  .transform((text) => Number(nanoUsd(text)))
  .refine((nano) => nano >= 1, 'must be above 0')
  .refine((nano) => nano <= MAX_BUDGET_USD * 1e9, `must be at most ${MAX_BUDGET_USD}`);
/** `"5.00"` or `{ usd: "5.00", alertAtPercent: [50, 80] }`; becomes nano-USD. */
const budget = z.union([
  budgetMax,
  z.strictObject({ usd: budgetMax, ...quotaOptions }).transform(({ usd: max, ...rest }) => ({ max, ...rest })),
]);

const ratePerMinute = z.int().min(1).max(MAX_PER_MINUTE);

const limits = {
  /** Token buckets: capacity, refilled evenly within a minute. */
  requestsPerMinute: ratePerMinute,
  tokensPerMinute: ratePerMinute,
  /** Calendar days and months of the tenant's time zone. */
  tokensPerDay: tokenQuota,
  tokensPerMonth: tokenQuota,
  /** Open jobs, and the tokens they hold. */
  concurrentJobs: z.int().min(1).max(1_000_000),
  tokensInFlight: z.int().min(1).max(MAX_TOKENS_PER_PERIOD),
  /** US dollars in a calendar month of the tenant's time zone. */
  moneyPerMonth: budget,
};

/** Any set of limits; what is absent is not limited. */
export const limitSetSchema = z.strictObject(limits).partial();
export type LimitSet = z.infer<typeof limitSetSchema>;

/**
 * How much output a job is held for. `exact`: its cap, so settled use never exceeds the hold. `learned`: the quantile
 * of what this tenant and model really used, never below the floor nor above the cap, so capacity is not hoarded; what
 * a job uses beyond it is booked as overage.
 */
export const estimateSchema = z.union([
  z.literal('exact'),
  z.literal('learned').transform(() => ({ quantile: 0.95, floorTokens: 16 })),
  z.strictObject({ quantile: z.number().min(0.5).max(0.999), floorTokens: z.int().min(1).max(1_000_000) }),
]);
export type Estimate = z.infer<typeof estimateSchema>;

const perModel = z.record(z.union([z.literal('*'), nameSchema]), limitSetSchema);

/** What a tenant on a plan may use. */
export const planSchema = z.strictObject({
  /** For the tenant as a whole. */
  limits: limitSetSchema,
  /** For each API key by itself. */
  perApiKey: limitSetSchema.default({}),
  /** For the tenant's use of a model; `*` is for each model that is not named, by itself. */
  perModel: perModel.default({}),
  estimate: estimateSchema.default('exact'),
});
export type Plan = z.infer<typeof planSchema>;

/** `config/plans.yaml`. */
export const plansFileSchema = z.strictObject({ plans: z.record(nameSchema, planSchema) });
export type PlansFile = z.infer<typeof plansFileSchema>;

/** `config/plans.yaml` where the models are known: a limit on a model that does not exist is refused. */
export function plansFileFor(models: ModelsFile) {
  return plansFileSchema.superRefine((file, context) => {
    for (const [plan, { perModel: sets }] of Object.entries(file.plans)) {
      for (const model of Object.keys(sets)) {
        if (model === '*' || Object.hasOwn(models.models, model)) continue;
        const path = ['plans', plan, 'perModel', model];
        context.addIssue({ code: 'custom', path, message: `no model "${model}" exists` });
      }
    }
  });
}

const nullable = Object.fromEntries(Object.entries(limits).map(([key, schema]) => [key, schema.nullable()])) as {
  readonly [Key in keyof typeof limits]: z.ZodNullable<(typeof limits)[Key]>;
};
/** Changes to a set: a value replaces, null removes the limit. */
export const limitChangesSchema = z.strictObject(nullable).partial();
export type LimitChanges = z.infer<typeof limitChangesSchema>;

/** What one tenant has otherwise than its plan. As it is written, so that it can be stored and read back. */
export const overridesSchema = z
  .strictObject({
    limits: limitChangesSchema,
    perApiKey: limitChangesSchema,
    perModel: z.record(z.union([z.literal('*'), nameSchema]), limitChangesSchema),
    estimate: estimateSchema,
  })
  .partial();
export type Overrides = z.infer<typeof overridesSchema>;

/** A set with changes made to it. */
export function limitsWith(set: LimitSet, changes: LimitChanges | undefined): LimitSet {
  const merged = Object.entries({ ...set, ...changes }).filter(([, value]) => value !== null && value !== undefined);
  return Object.fromEntries(merged);
}

/** A tenant's plan with its overrides. A model that only the overrides name starts from the plan's `*`. */
export function planWith(plan: Plan, overrides: Overrides): Plan {
  const models = new Set([...Object.keys(plan.perModel), ...Object.keys(overrides.perModel ?? {})]);
  const sets = [...models].map((model): [string, LimitSet] => [
    model,
    limitsWith(plan.perModel[model] ?? plan.perModel['*'] ?? {}, overrides.perModel?.[model]),
  ]);
  return {
    limits: limitsWith(plan.limits, overrides.limits),
    perApiKey: limitsWith(plan.perApiKey, overrides.perApiKey),
    perModel: Object.fromEntries(sets),
    estimate: overrides.estimate ?? plan.estimate,
  };
}

/** The limits on a tenant's use of a model. */
export function modelLimits({ perModel: sets }: Plan, model: string): LimitSet {
  return (Object.hasOwn(sets, model) ? sets[model] : sets['*']) ?? {};
}

/** What is priced. `request` counts jobs, the others tokens. */
export const METERS = ['input', 'output', 'cached', 'request'] as const;
export type Meter = (typeof METERS)[number];

/** `config/prices.yaml`: effective-dated prices. A price that was in force is never changed, a newer one is added. */
export const pricesFileSchema = z
  .strictObject({
    prices: z.array(
      z.strictObject({
        model: nameSchema,
        meter: z.enum(METERS),
        /** US dollars for a million units, as a decimal string with at most 9 places, for example "0.02". */
        usdPerMillion: z.string().regex(/^\d{1,6}(\.\d{1,9})?$/, 'must be a decimal string such as "0.02"'),
        /** From when on, inclusive, until the next version of the same model and meter begins. */
        from: z.iso.datetime(),
      }),
    ),
  })
  .superRefine(({ prices }, context) => {
    const seen = new Map<string, number>();
    prices.forEach(({ model, meter, from }, index) => {
      const key = `${model} ${meter} ${Date.parse(from)}`;
      const first = seen.get(key);
      const message = `overlaps price ${(first ?? 0) + 1} of the list: both are for ${meter} of ${model} from ${from}`;
      if (first === undefined) seen.set(key, index);
      else context.addIssue({ code: 'custom', path: ['prices', index], message });
    });
  });
export type PricesFile = z.infer<typeof pricesFileSchema>;
export type Price = PricesFile['prices'][number];

/** `config/prices.yaml` where the models are known: a price of a model that does not exist is refused. */
export function pricesFileFor(models: ModelsFile) {
  return pricesFileSchema.superRefine(({ prices }, context) => {
    prices.forEach(({ model }, index) => {
      if (Object.hasOwn(models.models, model)) return;
      context.addIssue({ code: 'custom', path: ['prices', index, 'model'], message: `no model "${model}" exists` });
    });
  });
}

/** Nano-USD in a decimal amount of US dollars, exactly. */
export function nanoUsd(dollars: string): bigint {
  const [whole = '0', fraction = ''] = dollars.split('.');
  return BigInt(whole + fraction.padEnd(9, '0'));
}

/** Nano-USD for a million units: the exact integer behind `usdPerMillion`. */
export const nanoUsdPerMillion = nanoUsd;

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
